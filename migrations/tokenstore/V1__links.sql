-- People are known by (issuer, subject) of the login provider, never by a number of ours: so no table has a
-- hot sequence in its key, and all of one person's rows can be kept on one shard.

-- With which keys the secrets below are encrypted (crates/core/src/db/encryption_keys.rs).
CREATE TABLE encryption_keys (
    fingerprint text PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);

-- Browsers that are signed in. The cookie holds a secret of which only the digest is here, so that
-- who reads the database cannot sign in.
CREATE TABLE sessions (
    digest       text PRIMARY KEY,
    issuer       text NOT NULL,
    subject      text NOT NULL,
    -- What the login provider said of the person, as GET /api/whoami shows it.
    profile      jsonb NOT NULL,
    -- The ID token, encrypted: the provider wants it back when the person signs out.
    id_token     text,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_age ON sessions (created_at);

-- Logins that have begun. Each is taken out by the one callback that ends it.
CREATE TABLE login_states (
    -- Of the parameter `state`.
    digest     text PRIMARY KEY,
    -- Of the cookie of the browser that began it.
    browser    text NOT NULL,
    -- Nonce, PKCE verifier and return URL, encrypted.
    secrets    text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX login_states_by_expiry ON login_states (expires_at);

-- Links that have begun, the same way, and whose they are.
CREATE TABLE link_states (
    digest     text PRIMARY KEY,
    browser    text NOT NULL,
    issuer     text NOT NULL,
    subject    text NOT NULL,
    provider   text NOT NULL,
    -- Whether it was begun with a session's cookie; a program's call has no browser yet.
    by_session boolean NOT NULL,
    secrets    text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX link_states_by_expiry ON link_states (expires_at);

-- A person's account at a provider.
CREATE TABLE links (
    issuer             text NOT NULL,
    subject            text NOT NULL,
    provider           text NOT NULL,
    -- Counts the tokens that were stored: an older one never replaces a newer one.
    generation         bigint NOT NULL DEFAULT 1,
    -- Both encrypted, bound to (issuer, subject, provider).
    refresh_token      text,
    access_token       text NOT NULL,
    token_type         text NOT NULL,
    scopes             text[] NOT NULL,
    obtained_at        timestamptz NOT NULL,
    -- Null where the provider did not say.
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    -- Who the person is there, as far as it is known.
    account            text,
    account_subject    text,
    linked_at          timestamptz NOT NULL,
    -- Set when the provider has taken the link back: only a new authorization helps.
    broken_at          timestamptz,
    broken_reason      text,
    PRIMARY KEY (issuer, subject, provider)
);
-- For keep_alive: what has not been refreshed for long.
CREATE INDEX links_by_age ON links (provider, obtained_at) WHERE refresh_token IS NOT NULL AND broken_at IS NULL;

-- Personal API keys, known by their digests.
CREATE TABLE api_keys (
    issuer       text NOT NULL,
    subject      text NOT NULL,
    id           uuid NOT NULL,
    digest       text NOT NULL,
    name         text NOT NULL,
    profile      jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (issuer, subject, id),
    CONSTRAINT api_keys_digest UNIQUE (digest)
);

-- What is still to be told to others: revocations to providers, broken links to the operator. Written in
-- the transaction of the change, sent afterwards, deleted when it was taken.
CREATE TABLE outbox (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('revocation', 'webhook')),
    provider   text NOT NULL,
    -- Encrypted: a revocation holds the token.
    content    text NOT NULL,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX outbox_by_due ON outbox (due_at);

-- Who did what, when, from where. No secrets.
CREATE TABLE audit (
    at         timestamptz NOT NULL,
    id         uuid NOT NULL,
    issuer     text NOT NULL,
    subject    text NOT NULL,
    action     text NOT NULL,
    provider   text,
    -- session, bearer, api_key, or service where nobody asked.
    by         text NOT NULL,
    address    text,
    -- How many times, where several were noted together.
    times      integer NOT NULL DEFAULT 1,
    detail     text,
    PRIMARY KEY (issuer, subject, at, id)
);
CREATE INDEX audit_by_age ON audit (at);
