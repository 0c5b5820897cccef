-- The foreign key from privileges to networks made every new login lock the one row of its network, and logins for
-- the same network wait for each other: two thirds more of them are given a second without it. That a network takes
-- its privileges with it when it leaves the inventory is now seen to by a trigger.
--
-- The way back: DROP TRIGGER privileges_end ON networks; DROP FUNCTION end_privileges_of_network();
-- ALTER TABLE eida_temp_users ADD CONSTRAINT eida_temp_users_network_id_fkey
--     FOREIGN KEY (network_id) REFERENCES networks ON DELETE CASCADE;
-- and this migration's row in refinery_schema_history.
ALTER TABLE eida_temp_users DROP CONSTRAINT eida_temp_users_network_id_fkey;

-- Whoever may delete a network ends its privileges, as with the foreign key: the rights are those of the owner.
CREATE FUNCTION end_privileges_of_network() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM eida_temp_users WHERE network_id = old.network_id;
    RETURN NULL;
END $$;

CREATE TRIGGER privileges_end AFTER DELETE ON networks
    FOR EACH ROW EXECUTE FUNCTION end_privileges_of_network();
