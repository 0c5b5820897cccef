-- Two roles for eida-auth's own database: one that owns the schema and migrates it, one that the service runs as.
-- Run once as a superuser, in the database of eida-auth:
--
--     psql -v ON_ERROR_STOP=1 -d eida_auth -f roles.sql
--
-- Then, as the owner, `eida-auth migrate`, and once more this file for the rights below; the service itself runs with
-- `database.migrate = false`. After an upgrade: `migrate`, and the rights again.
--
-- The roles have no password until README.md's next step gives them one, so nobody can sign in as one of them before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'eida_auth_owner') THEN
        CREATE ROLE eida_auth_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'eida_auth_service') THEN
        CREATE ROLE eida_auth_service LOGIN;
    END IF;
    -- Roles of other services on the same server have nothing to look for here.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO eida_auth_owner, eida_auth_service', current_database());
END
$$;

-- On servers before Postgres 15 everybody may make tables there.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS eida_auth AUTHORIZATION eida_auth_owner;

GRANT USAGE ON SCHEMA eida_auth TO eida_auth_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA eida_auth TO eida_auth_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA eida_auth TO eida_auth_service;
DO $$
BEGIN
    -- Before the first migration it is not there yet.
    IF to_regclass('eida_auth.refinery_schema_history') IS NOT NULL THEN
        REVOKE INSERT, UPDATE, DELETE ON eida_auth.refinery_schema_history FROM eida_auth_service;
    END IF;
END
$$;
