-- Two roles for tokenstore: one that owns the schema and migrates it, one that the service runs as.
-- Run once as a superuser, in the database of tokenstore:
--
--     psql -v ON_ERROR_STOP=1 -d tokenstore -f roles.sql
--
-- Then, as the owner, `tokenstore migrate`, and once more this file for the rights below; the service
-- itself runs with `database.migrate = false`. After an upgrade: `migrate`, and the rights again.
--
-- The roles have no password until README.md's next step gives them one, so nobody can sign in as one of them before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tokenstore_owner') THEN
        CREATE ROLE tokenstore_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tokenstore_service') THEN
        CREATE ROLE tokenstore_service LOGIN;
    END IF;
    -- Roles of other services on the same server have nothing to look for here.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO tokenstore_owner, tokenstore_service', current_database());
END
$$;

-- On servers before Postgres 15 everybody may make tables there.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS tokenstore AUTHORIZATION tokenstore_owner;

-- Rights of the service's role: everything but changing the schema, and but changing the audit log, of which it
-- takes away what is older than audit.keep.
GRANT USAGE ON SCHEMA tokenstore TO tokenstore_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tokenstore TO tokenstore_service;
DO $$
BEGIN
    -- Before the first migration they are not there yet.
    IF to_regclass('tokenstore.audit') IS NOT NULL THEN
        REVOKE UPDATE, TRUNCATE ON tokenstore.audit FROM tokenstore_service;
        REVOKE INSERT, UPDATE, DELETE ON tokenstore.refinery_schema_history FROM tokenstore_service;
    END IF;
END
$$;
