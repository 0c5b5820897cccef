-- The least that eida-auth may in a data centre's own databases, in one file for psql, run as their owner:
--
--     psql -v ON_ERROR_STOP=1 -v authdb=resifAuth -v privilegedb=resifInv-Prod -f privileges.sql
--
-- Change the names of databases, tables and sequences to yours. The service checks at its start what it was given and
-- names what is missing.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'eidawsauth') THEN
        CREATE ROLE eidawsauth LOGIN;
    END IF;
END
$$;

GRANT CONNECT ON DATABASE :"authdb" TO eidawsauth;
GRANT CONNECT ON DATABASE :"privilegedb" TO eidawsauth;

\connect :"authdb"
-- Accounts of residents have none: these are never touched.
ALTER TABLE users ADD COLUMN IF NOT EXISTS expires_at timestamp DEFAULT NULL;
-- Cleaning up looks for what has expired.
CREATE INDEX IF NOT EXISTS users_expires_at ON users (expires_at) WHERE expires_at IS NOT NULL;
-- Which memberships lead to which networks, where there is no such table yet.
CREATE TABLE IF NOT EXISTS epos_fdsn (
    epos_name text NOT NULL,
    network text NOT NULL,
    start_year integer NOT NULL,
    end_year integer NOT NULL,
    PRIMARY KEY (epos_name, network, start_year, end_year)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE users, credentials TO eidawsauth;
GRANT SELECT, UPDATE ON SEQUENCE users_user_index_seq TO eidawsauth;
GRANT SELECT ON TABLE epos_fdsn TO eidawsauth;
-- Only for who imports the mapping with `eida-auth mapping import`:
-- GRANT INSERT, DELETE ON TABLE epos_fdsn TO …;

\connect :"privilegedb"
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE eida_temp_users TO eidawsauth;
GRANT SELECT ON TABLE networks TO eidawsauth;
GRANT SELECT, UPDATE ON SEQUENCE aut_user_user_id_seq TO eidawsauth;
