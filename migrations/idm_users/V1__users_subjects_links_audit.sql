-- Users who sign in, study subjects, their links to an app, the audit trail, and mails that are to
-- be sent.

CREATE TABLE users (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- An email address, as it was given.
    username      text        NOT NULL CHECK (username <> ''),
    -- The same as it is compared: normalised (NFKC) and in lower case.
    username_key  text        NOT NULL CONSTRAINT users_username_unique UNIQUE,
    password_hash text        NOT NULL,
    admin         boolean     NOT NULL,
    -- Tokens of an earlier generation are not accepted: counted up with each new password.
    generation    integer     NOT NULL DEFAULT 0,
    created       timestamptz NOT NULL,
    changed       timestamptz NOT NULL
);

-- The digest of the code that the first administrator is made with, while there is none.
CREATE TABLE setup_code (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    digest text    NOT NULL
);

-- Who asked for a new password, until a worker has looked whether there is such a user: the request
-- itself does the same for everybody, and so takes the same time. A row for each, so that none waits
-- for the worker to be done with the last one of the same name.
CREATE TABLE reset_requests (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    username_key text        NOT NULL,
    requested    timestamptz NOT NULL
);

-- Links to /reset that were mailed, by the digests of their keys.
CREATE TABLE resets (
    digest  text        PRIMARY KEY,
    user_id bigint      NOT NULL REFERENCES users ON DELETE CASCADE,
    created timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    -- When its password was set.
    used    timestamptz,
    -- When a newer one took its place, or the password was changed otherwise.
    ended   timestamptz
);

CREATE INDEX resets_of_user ON resets (user_id, created);
CREATE INDEX resets_expired ON resets (expires);

CREATE TABLE subjects (
    sssid            text        COLLATE "C" PRIMARY KEY CHECK (sssid <> ''),
    name             text        NOT NULL,
    bday             text        COLLATE "C" NOT NULL,
    email            text,
    -- Dates as they were given; beside each the moment that it names, for comparison and order.
    date_invited     text,
    date_consented   text,
    date_enrolled    text,
    date_withdrawn   text,
    bday_at          timestamptz NOT NULL,
    invited_at       timestamptz,
    consented_at     timestamptz,
    enrolled_at      timestamptz,
    withdrawn_at     timestamptz,
    -- What is set by hand does not follow the links.
    enrolled_by_hand  boolean    NOT NULL DEFAULT false,
    withdrawn_by_hand boolean    NOT NULL DEFAULT false,
    status           smallint    NOT NULL GENERATED ALWAYS AS (
                         CASE WHEN withdrawn_at IS NOT NULL THEN 3
                              WHEN enrolled_at IS NOT NULL THEN 2
                              WHEN invited_at IS NOT NULL OR consented_at IS NOT NULL THEN 1
                              ELSE 0 END) STORED,
    -- All other members, as they came: not jsonb, which would not keep them so.
    extra            json        NOT NULL DEFAULT '{}',
    created          timestamptz NOT NULL,
    changed          timestamptz NOT NULL,
    -- For the search: in lower case, and every three neighbouring characters of the name.
    sssid_key        text        COLLATE "C" NOT NULL,
    name_key         text        COLLATE "C" NOT NULL,
    name_grams       text[]      NOT NULL,
    -- For the order of names: without case and accents.
    name_order       text        COLLATE "C" NOT NULL,
    email_order      text        COLLATE "C"
);

-- The search. Trigrams of our own: the extension pg_trgm may not be there, or not be ours to create.
CREATE INDEX subjects_sssid_key ON subjects (sssid_key);
CREATE INDEX subjects_bday ON subjects (bday);
CREATE INDEX subjects_name_grams ON subjects USING gin (name_grams) WITH (fastupdate = off);

-- The lists: each order from its own index, so that a deep page only walks along it. What is not set
-- comes first, and in descending order last.
CREATE INDEX subjects_by_status ON subjects (status, sssid);
CREATE INDEX subjects_by_name ON subjects (name_order, sssid);
CREATE INDEX subjects_by_bday ON subjects (bday_at, sssid);
CREATE INDEX subjects_by_email ON subjects (email_order NULLS FIRST, sssid);
CREATE INDEX subjects_by_invited ON subjects (invited_at NULLS FIRST, sssid);
CREATE INDEX subjects_by_consented ON subjects (consented_at NULLS FIRST, sssid);
CREATE INDEX subjects_by_enrolled ON subjects (enrolled_at NULLS FIRST, sssid);
CREATE INDEX subjects_by_withdrawn ON subjects (withdrawn_at NULLS FIRST, sssid);
CREATE INDEX subjects_by_created ON subjects (created, sssid);
CREATE INDEX subjects_by_changed ON subjects (changed, sssid);

CREATE TABLE links (
    id            uuid        PRIMARY KEY,
    sssid         text        COLLATE "C" NOT NULL REFERENCES subjects,
    iss           text        NOT NULL,
    aud           text        NOT NULL,
    algorithm     text        NOT NULL,
    -- A secret of its own, encrypted and bound to its row; none: the service's.
    secret        text,
    exp           timestamptz,
    -- What the JWT says, once it was made: signed again it is the same JWT, which itself is stored
    -- nowhere.
    claims        json,
    linked_to     text,
    linked_system text,
    linked_on     text,
    linked_at     timestamptz,
    withdrawn_on  text,
    withdrawn_at  timestamptz,
    created       timestamptz NOT NULL,
    changed       timestamptz NOT NULL,
    CHECK ((linked_to IS NULL) = (linked_at IS NULL)),
    CHECK (linked_system IS NULL OR linked_to IS NOT NULL)
);

CREATE INDEX links_of_subject ON links (sssid, created);

-- What was changed, by whom, when. Each row carries the hash of the one before it.
CREATE TABLE audit (
    seq           bigint      PRIMARY KEY,
    at            timestamptz NOT NULL,
    -- A username; none: whoever had a link's JWT, or the service itself.
    actor         text,
    kind          text        NOT NULL CHECK (kind IN ('subject', 'link', 'user')),
    -- An SSSID, a link's id or a username.
    object        text        NOT NULL,
    -- The subject whose history it belongs to.
    sssid         text        COLLATE "C",
    action        text        NOT NULL,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL
);

CREATE INDEX audit_of_subject ON audit (sssid, seq);

-- Two locks on one door: no right to change a row, and a trigger for those whose rights are not asked.
CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of the audit trail are never changed or deleted'
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit();

REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM PUBLIC, CURRENT_USER;

-- Mails that are still to be sent. Subject and text are encrypted: they hold links that are as good as
-- a password.
CREATE TABLE mails (
    id              uuid        PRIMARY KEY,
    recipient       text        NOT NULL,
    content         text        NOT NULL,
    created         timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error      text,
    -- Given up.
    dead_at         timestamptz
);

CREATE INDEX mails_due ON mails (next_attempt_at) WHERE dead_at IS NULL;

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
