-- Under which `jwt.secret` the database was written, by a fingerprint of the key that is derived from it:
-- an instance with another secret stops at its start, instead of failing at some mail or link.
--
-- Additive. The way back: DROP TABLE encryption_keys, and its row in refinery_schema_history.
CREATE TABLE encryption_keys (
    fingerprint text        PRIMARY KEY,
    recorded_at timestamptz NOT NULL
);
