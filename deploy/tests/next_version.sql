-- A migration as additive ones are: a column that the binary of before does not know, in a table that requests write to,
-- and an index on it. What that cannot stand fails: a row of more columns than it reads, a plan whose result has changed.
-- One table, as it must be: a migration that locks several gets into deadlocks with requests that come from the other side.
DO $$
DECLARE
    busy text := coalesce(to_regclass('subjects'), to_regclass('api_keys'), to_regclass('users'))::text;
BEGIN
    EXECUTE format('ALTER TABLE %s ADD COLUMN of_next_version text NOT NULL DEFAULT ''new''', busy);
    EXECUTE format('CREATE INDEX ON %s (of_next_version)', busy);
END
$$;
