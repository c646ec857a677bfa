-- Triggers that notify the gateway of each changed or deleted image row, so that every replica drops its entries.
-- The gateway also works without them; changes then take effect when the cached entries expire or are renewed.
--
-- Run it as the owner of the tables, by a driver, a migration tool, or
--   psql "$DSN" -v ON_ERROR_STOP=1 -f config/sql/changes.sql
-- It is one transaction and may be run again, also after an earlier release. In a tool that opens a transaction itself,
-- leave out BEGIN and COMMIT. If your names differ, edit them in one place below BEGIN, or let the gateway print the
-- script for your configuration, with a block for each table of postgres.changes and postgres.grants:
--   image-gateway sql changes --config FILE
--
-- The trigger makes no statement of the application fail but PREPARE TRANSACTION (docs/postgres.md). It depends on no
-- column, so ALTER TYPE, RENAME and DROP COLUMN work with it in place. Run this again after a migration that alters one of
-- the columns; until then the trigger is slower, and does not see changes of a renamed column.
--
-- The channel is image_gateway and the payload is the id; a payload that starts with - is none. Postgres sends notifications when the transaction commits,
-- and sends equal notifications of one transaction once.

BEGIN;
SET LOCAL lock_timeout = '5s';  -- fail instead of blocking the application behind a long transaction

DO $install$
DECLARE
    -- The one place to edit: the table, the column that holds the image's id, the columns that the gateway reads ({}: every
    -- column), and the events: an inserted row changes an image only if the table is not that of the images.
    table_name CONSTANT text := '"images"';
    id_column CONSTANT text := 'id';
    watched CONSTANT text[] := '{id,user_id,cos_key,cos_bucket,cos_region,mime_type,is_public,storage_status}';
    events CONSTANT text := 'UPDATE OR DELETE';
    may_be_view CONSTANT boolean := 'false';  -- true: the tables behind a view have triggers of their own

    images CONSTANT regclass := table_name::regclass;
    name text;
    suffix text := '';
    trigger_name text;
    function_name text;
    missing text;
    before text;
    after text;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = images) IN ('v', 'm') THEN
        IF may_be_view THEN
            RETURN;
        END IF;
        RAISE EXCEPTION '% is a view, which can have no trigger: list the tables behind it in postgres.changes', images;
    END IF;
    SELECT string_agg(wanted, ', ') INTO missing FROM unnest(watched || id_column) AS wanted
        WHERE NOT EXISTS (SELECT FROM pg_attribute
                          WHERE attrelid = images AND attname = wanted AND attnum > 0 AND NOT attisdropped);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'the table % has no column %', images, missing;
    END IF;
    SELECT string_agg(attname, ', ') INTO missing FROM pg_attribute
        WHERE attrelid = images AND attname = ANY (watched || id_column) AND attgenerated = 'v';
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'a trigger of % sees no value of the virtual column %: generate it as STORED, or list the columns '
            'behind it in postgres.changes', images, missing;
    END IF;
    SELECT COALESCE(string_agg(format('OLD.%I', column_name), ', '), 'OLD.*'),
           COALESCE(string_agg(format('NEW.%I', column_name), ', '), 'NEW.*') INTO before, after
        FROM unnest(watched) AS column_name;
    -- A trigger that sends another column of the table may be of another gateway, and stays.
    FOR name IN
        SELECT tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
        WHERE tgrelid = images AND tgname ~ '^image_gateway_(changed|updated$|deleted$)' AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = images AND attname <> id_column AND NOT attisdropped
            AND attname = substring(prosrc FROM 'image_id := OLD\."?(\w+)'))
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', name, images);
    END LOOP;
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = images AND tgname = 'image_gateway_changed') THEN
        suffix := '.' || id_column;
    END IF;
    -- One function for each trigger: two tables of one database may each have a gateway.
    SELECT left('image_gateway_changed' || suffix, 63),
           format('%I.%I', nspname, CASE WHEN length(long) > 63 THEN left(long, 31) || md5(long) ELSE long END)
        INTO trigger_name, function_name
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
            concat('image_gateway_changed_', relname, suffix) AS long
        WHERE pg_class.oid = images;

    EXECUTE format($ddl$
        CREATE OR REPLACE FUNCTION %1$s() RETURNS trigger LANGUAGE plpgsql AS $function$
        DECLARE
            image_id text;  -- NULL after INSERT
            new_id text;  -- NULL after DELETE
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF ROW(%2$s) IS NOT DISTINCT FROM ROW(%3$s) THEN
                    RETURN NULL;
                END IF;
            END IF;
            image_id := OLD.%4$I::text;
            new_id := NEW.%4$I::text;
            IF octet_length(image_id) <= 128 THEN  -- the gateway accepts no longer ids; a payload is limited to 8,000 bytes
                PERFORM pg_notify('image_gateway', image_id);
            END IF;
            IF new_id IS DISTINCT FROM image_id AND octet_length(new_id) <= 128 THEN
                PERFORM pg_notify('image_gateway', new_id);
            END IF;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            BEGIN
                -- A column was altered or dropped since, or its type has no equality operator. JSON can be compared.
                IF TG_OP = 'UPDATE' THEN
                    IF NOT EXISTS (SELECT FROM jsonb_object_keys(to_jsonb(NEW)) AS name
                                   WHERE (name = ANY (%5$L::text[]) OR %5$L::text[] = '{}')
                                   AND to_jsonb(OLD) -> name IS DISTINCT FROM to_jsonb(NEW) -> name) THEN
                        RETURN NULL;
                    END IF;
                END IF;
                IF NOT COALESCE(to_jsonb(OLD), to_jsonb(NEW)) ? %4$L THEN
                    RAISE WARNING 'image_gateway: there is no column %%, install the trigger again', %4$L;
                END IF;
                image_id := rtrim(to_jsonb(OLD) ->> %4$L);  -- char(n) is padded in JSON
                new_id := rtrim(to_jsonb(NEW) ->> %4$L);
                IF octet_length(image_id) <= 128 THEN
                    PERFORM pg_notify('image_gateway', image_id);
                END IF;
                IF new_id IS DISTINCT FROM image_id AND octet_length(new_id) <= 128 THEN
                    PERFORM pg_notify('image_gateway', new_id);
                END IF;
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'image_gateway: a change was not notified: %%', SQLERRM;
            END;
            RETURN NULL;
        END
        $function$
    $ddl$, function_name, before, after, id_column, watched);

    EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION %s()',
                   trigger_name, events, images, function_name);
END
$install$;

NOTIFY image_gateway, '-installed';  -- gateways that listen look for the trigger now

COMMIT;
