-- People's records and the accounts they have linked. Every table begins its key with the user, so
-- that the schema can be distributed by user.

CREATE SEQUENCE users_id_seq;

CREATE TABLE users (
    id         bigint      PRIMARY KEY DEFAULT nextval('users_id_seq'),
    name       text        NOT NULL CHECK (name <> ''),
    -- The words of the name, made by the service, for searches by the beginnings of words.
    name_words tsvector    NOT NULL,
    email      text        NOT NULL CHECK (email <> ''),
    -- The address as it is compared: normalised (NFKC) and in lower case.
    email_key  text        NOT NULL CONSTRAINT users_email_unique UNIQUE,
    -- Counts the changes; the entity tag of the record.
    version    bigint      NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

ALTER SEQUENCE users_id_seq OWNED BY users.id;

CREATE INDEX users_name_words ON users USING gin (name_words);

CREATE TABLE linked_accounts (
    user_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    service      text   NOT NULL,
    account_id   text   NOT NULL CHECK (account_id <> ''),
    -- Encrypted, and bound to user, service and account.
    access_token text,
    PRIMARY KEY (user_id, service),
    CONSTRAINT linked_accounts_account_unique UNIQUE (service, account_id)
);

-- Changes of records that are still to be told. Rows outlive the user: a deletion is told too.
CREATE TABLE user_events (
    user_id         bigint      NOT NULL,
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    -- The id by which a receiver recognises a repetition.
    webhook_id      uuid        NOT NULL,
    type            text        NOT NULL,
    -- json, not jsonb: a patch is told as it was sent.
    payload         json        NOT NULL,
    created_at      timestamptz NOT NULL,
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error      text,
    -- When the service gave the event up; it does not hold up later ones any more.
    dead_at         timestamptz,
    PRIMARY KEY (user_id, id)
);

CREATE INDEX user_events_due ON user_events (next_attempt_at) WHERE dead_at IS NULL;

-- Which keys have encrypted something here, by fingerprint: with others the service does not start.
CREATE TABLE encryption_keys (
    fingerprint text        PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);
