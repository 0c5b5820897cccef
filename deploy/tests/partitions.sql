-- Turns empty tables into hash-partitioned ones, keeping everything that Postgres can keep. Run in a schema that the
-- service's migrations made, with search_path set to it; `partitions` says with which keys.

-- Foreign keys are taken away first and put back last: both ends change.
CREATE TEMP TABLE foreign_keys AS
    SELECT conrelid::regclass::text AS of_table, conname AS name, pg_get_constraintdef(oid) AS definition
    FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace;

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM foreign_keys LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.of_table, one.name);
    END LOOP;
END
$$;

-- What could not be kept, for the report.
CREATE TEMP TABLE changes (of_table text, what text);

-- Keys of others that must stay unique over all partitions get a table of their own, partitioned by them, in which each
-- is noted in the same transaction. The error has the constraint's name, so that the service tells it as before.
CREATE FUNCTION keep_unique() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    directory text := TG_ARGV[0];
    columns text[] := TG_ARGV[1:];
    condition text;
    done bigint;
BEGIN
    SELECT string_agg(format('%1$I = ($1).%1$I', name), ' AND ') INTO condition FROM unnest(columns) AS name;
    IF TG_OP <> 'INSERT' THEN
        EXECUTE format('DELETE FROM %I WHERE %s', directory, condition) USING OLD;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE format('INSERT INTO %I SELECT %s ON CONFLICT DO NOTHING', directory,
                       (SELECT string_agg(format('($1).%I', name), ', ') FROM unnest(columns) AS name)) USING NEW;
        GET DIAGNOSTICS done = ROW_COUNT;
        IF done = 0 THEN
            RAISE unique_violation USING CONSTRAINT = directory, MESSAGE = 'taken, says ' || directory;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

-- of_table becomes partitioned by by_columns; its primary key becomes new_key, where that is not null.
CREATE PROCEDURE pg_temp.distribute(of_table text, by_columns text[], count integer, new_key text[] DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    indexes text[];
    owned text[];
    key_list text := (SELECT string_agg(quote_ident(name), ', ') FROM unnest(by_columns) AS name);
    column_list text;
BEGIN
    CREATE TEMP TABLE constraints ON COMMIT DROP AS
        SELECT c.conname AS name, c.contype AS kind, pg_get_constraintdef(c.oid) AS definition,
               (SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM unnest(c.conkey) WITH ORDINALITY AS k (number, place)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number) AS columns
        FROM pg_constraint c WHERE c.conrelid = of_table::regclass AND c.contype IN ('p', 'u');
    SELECT array_agg(pg_get_indexdef(indexrelid)) INTO indexes FROM pg_index
        WHERE indrelid = of_table::regclass AND NOT indisprimary
          AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid);
    -- A sequence would go with its table.
    SELECT array_agg(objid::regclass::text) INTO owned FROM pg_depend
        WHERE refobjid = of_table::regclass AND deptype = 'a' AND classid = 'pg_class'::regclass
          AND objid IN (SELECT oid FROM pg_class WHERE relkind = 'S');
    FOR one IN SELECT unnest(owned) AS name LOOP
        EXECUTE format('ALTER SEQUENCE %s OWNED BY NONE', one.name);
    END LOOP;
    EXECUTE format('ALTER TABLE %I RENAME TO %I', of_table, of_table || '__whole');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY HASH (%s)',
                   of_table, of_table || '__whole', key_list);
    EXECUTE format('DROP TABLE %I', of_table || '__whole');
    FOR number IN 0 .. count - 1 LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
                       of_table || '__' || number, of_table, count, number);
    END LOOP;
    FOR one IN SELECT * FROM constraints LOOP
        SELECT string_agg(quote_ident(name), ', ') INTO column_list FROM unnest(one.columns) AS name;
        IF one.kind = 'p' AND new_key IS NOT NULL THEN
            INSERT INTO changes VALUES (of_table, format('primary key (%s) becomes (%s)', column_list,
                                                         array_to_string(new_key, ', ')));
            SELECT string_agg(quote_ident(name), ', ') INTO column_list FROM unnest(new_key) AS name;
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY (%s)', of_table, one.name, column_list);
        ELSIF one.columns @> by_columns THEN
            EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', of_table, one.name, one.definition);
        ELSE
            INSERT INTO changes VALUES (of_table, format('UNIQUE (%s) becomes a table of its own, partitioned by these',
                                                         column_list));
            EXECUTE format('CREATE TABLE %I AS SELECT %s FROM %I', one.name || '__whole', column_list, of_table);
            EXECUTE format('CREATE TABLE %I (LIKE %I, PRIMARY KEY (%s)) PARTITION BY HASH (%s)',
                           one.name, one.name || '__whole', column_list, column_list);
            EXECUTE format('DROP TABLE %I', one.name || '__whole');
            FOR number IN 0 .. count - 1 LOOP
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS %s, REMAINDER %s)',
                               one.name || '__' || number, one.name, count, number);
            END LOOP;
            -- Found by it as before.
            EXECUTE format('CREATE INDEX ON %I (%s)', of_table, column_list);
            EXECUTE format('CREATE TRIGGER %1$I AFTER INSERT OR DELETE OR UPDATE OF %2$s ON %3$I FOR EACH ROW
                            EXECUTE FUNCTION keep_unique(%4$s)', one.name, column_list, of_table,
                           (SELECT string_agg(quote_literal(name), ', ') FROM unnest(one.name || one.columns) AS name));
        END IF;
    END LOOP;
    FOR one IN SELECT unnest(indexes) AS definition LOOP
        EXECUTE replace(one.definition, ' ON ONLY ', ' ON ');
    END LOOP;
    DROP TABLE constraints;
END
$$;
