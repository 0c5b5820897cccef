-- Two roles for ident: one that owns the schema and migrates it, one that the service runs as.
-- Run as a superuser, in the database of ident, before and after `ident migrate`, at first and at every upgrade:
--
--     psql -v ON_ERROR_STOP=1 -d ident -f roles.sql
--
-- It may be run at any time, any number of times. The roles have no password until README.md's next step
-- gives them one, so nobody can sign in as one of them before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ident_owner') THEN
        CREATE ROLE ident_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ident_service') THEN
        CREATE ROLE ident_service LOGIN;
    END IF;
    -- Roles of other services on the same server have nothing to look for here.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ident_owner, ident_service', current_database());
END
$$;

-- On servers before Postgres 15 everybody may make tables there.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS ident AUTHORIZATION ident_owner;

-- Rights of the service's role: rows, and nothing of the schema. What a later migration makes is out of its reach until
-- this has run again, and nobody needs it before: instances of the older binary do not know it.
GRANT USAGE ON SCHEMA ident TO ident_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ident TO ident_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA ident TO ident_service;

DO $$
BEGIN
    -- Before the first migration they are not there yet.
    IF to_regclass('ident.refinery_schema_history') IS NOT NULL THEN
        -- Which migrations were applied is the owner's to say.
        REVOKE INSERT, UPDATE, DELETE ON ident.refinery_schema_history FROM ident_service;
        -- A key that encrypts is noted, and forgotten when nothing needs it any more; never another one put there.
        REVOKE UPDATE ON ident.encryption_keys FROM ident_service;
    END IF;
END
$$;
