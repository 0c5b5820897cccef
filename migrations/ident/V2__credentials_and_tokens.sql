-- Who can sign in, with what, and what was issued. Secrets are stored as argon2id hashes, private
-- keys and successor tokens encrypted and bound to their row.

CREATE TABLE credentials (
    user_id       bigint      PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    username      text        NOT NULL CHECK (username <> ''),
    -- The name as it is compared: normalised (NFKC) and in lower case.
    username_key  text        NOT NULL CONSTRAINT credentials_username_unique UNIQUE,
    password_hash text,
    permissions   text[]      NOT NULL DEFAULT '{}',
    disabled      boolean     NOT NULL DEFAULT false,
    updated_at    timestamptz NOT NULL
);

CREATE TABLE clients (
    id               uuid        PRIMARY KEY,
    name             text        NOT NULL CHECK (name <> ''),
    permissions      text[]      NOT NULL,
    audiences        text[]      NOT NULL,
    public_key       text,
    static_signature boolean     NOT NULL,
    disabled         boolean     NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);

-- Two at a time, so that one can be replaced while the other is in use.
CREATE TABLE client_secrets (
    client_id  uuid        NOT NULL REFERENCES clients ON DELETE CASCADE,
    id         uuid        NOT NULL,
    hash       text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, id)
);

-- Assertions that were used: none is accepted twice.
CREATE TABLE client_assertions (
    client_id  uuid        NOT NULL REFERENCES clients ON DELETE CASCADE,
    jti        text        NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti)
);

CREATE INDEX client_assertions_expired ON client_assertions (expires_at);

CREATE TABLE signing_keys (
    kid          text        PRIMARY KEY,
    private_key  text        NOT NULL,
    created_at   timestamptz NOT NULL,
    -- The key is published before it signs, and after, until its last token has expired.
    signs_from   timestamptz NOT NULL,
    withdrawn_at timestamptz
);

CREATE TABLE token_configuration (
    one               boolean     PRIMARY KEY DEFAULT true CHECK (one),
    jwt_expiration    integer     NOT NULL CHECK (jwt_expiration > 0),
    jwt_issuer        text        NOT NULL CHECK (jwt_issuer <> ''),
    jwt_max_refreshes integer     NOT NULL CHECK (jwt_max_refreshes >= 0),
    updated_at        timestamptz NOT NULL
);

-- A family is a token and all that it was refreshed to. It stands here from its first refresh, or
-- from its revocation.
CREATE TABLE token_families (
    id         uuid        PRIMARY KEY,
    generation integer     NOT NULL,
    revoked_at timestamptz,
    -- When the last token of the family will have expired.
    expires_at timestamptz NOT NULL
);

CREATE INDEX token_families_expired ON token_families (expires_at);

CREATE TABLE token_refreshes (
    family_id    uuid        NOT NULL REFERENCES token_families ON DELETE CASCADE,
    generation   integer     NOT NULL,
    refreshed_at timestamptz NOT NULL,
    -- The token that this one was refreshed to, encrypted.
    successor    text        NOT NULL,
    PRIMARY KEY (family_id, generation)
);

-- Whose tokens of before a moment are not accepted any more.
CREATE TABLE revoked_subjects (
    subject    text        PRIMARY KEY,
    before     timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

-- Wrong passwords, by account and by address, both as digests.
CREATE TABLE login_failures (
    bucket        text        PRIMARY KEY,
    failures      integer     NOT NULL,
    began_at      timestamptz NOT NULL,
    blocked_until timestamptz NOT NULL
);

-- From where a person has signed in: there, wrong passwords of strangers elsewhere do not count.
CREATE TABLE login_addresses (
    user_id bigint      NOT NULL REFERENCES users ON DELETE CASCADE,
    address text        NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, address)
);
