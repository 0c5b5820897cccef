-- Two roles for idm-users: one that owns the schema and migrates it, one that the service runs as.
-- Run once as a superuser, in the database of idm-users:
--
--     psql -v ON_ERROR_STOP=1 -d idm_users -f roles.sql
--
-- Then, as the owner, `idm-users migrate`, and once more this file for the rights below; the service
-- itself runs with `database.migrate = false`. After an upgrade: `migrate`, and the rights again.
--
-- The roles have no password until README.md's next step gives them one, so nobody can sign in as one of them before.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'idm_users_owner') THEN
        CREATE ROLE idm_users_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'idm_users_service') THEN
        CREATE ROLE idm_users_service LOGIN;
    END IF;
    -- Roles of other services on the same server have nothing to look for here.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO idm_users_owner, idm_users_service', current_database());
END
$$;

-- On servers before Postgres 15 everybody may make tables there.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS idm_users AUTHORIZATION idm_users_owner;

-- Rights of the service's role: everything but changing the schema, and but changing the audit trail.
GRANT USAGE ON SCHEMA idm_users TO idm_users_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA idm_users TO idm_users_service;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA idm_users TO idm_users_service;
DO $$
BEGIN
    -- Before the first migration they are not there yet.
    IF to_regclass('idm_users.audit') IS NOT NULL THEN
        REVOKE UPDATE, DELETE, TRUNCATE ON idm_users.audit FROM idm_users_service;
        REVOKE INSERT, UPDATE, DELETE ON idm_users.refinery_schema_history FROM idm_users_service;
    END IF;
END
$$;
