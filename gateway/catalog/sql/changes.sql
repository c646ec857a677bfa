-- Trigger that notifies the gateway of each changed or deleted image row, so that every replica drops its entries.
-- The gateway also works without it; changes then take effect when the cached entries expire or are renewed.
--
-- Run it as the owner of the table, by a driver, a migration tool, or
--   psql "$DSN" -v ON_ERROR_STOP=1 -f config/sql/changes.sql
-- It is one transaction and may be run again, also after an earlier release. In a tool that opens a transaction itself,
-- leave out BEGIN and COMMIT. If your names differ, edit them in one place below BEGIN, or let the gateway print the
-- script for your configuration:
--   image-gateway sql changes --config FILE
--
-- The trigger never makes a statement of the application fail. It depends on no column, so ALTER TYPE, RENAME and DROP
-- COLUMN work with it in place. Run this again after a migration that alters one of the columns; until then the trigger
-- is slower, and does not see changes of a renamed column.
--
-- The channel is image_gateway and the payload is the id; a payload that starts with - is none. Postgres sends notifications when the transaction commits,
-- and sends equal notifications of one transaction once.

BEGIN;
SET LOCAL lock_timeout = '5s';  -- fail instead of blocking the application behind a long transaction

DO $install$
DECLARE
    -- The one place to edit: the table, and the columns that the gateway reads.
    table_name CONSTANT text := '"images"';
    id_column CONSTANT text := 'id';
    watched CONSTANT text[] := '{id,user_id,cos_key,cos_bucket,cos_region,mime_type,is_public,storage_status}';

    images CONSTANT regclass := table_name::regclass;
    function_name text;
    missing text;
    before text;
    after text;
BEGIN
    SELECT string_agg(name, ', ') INTO missing FROM unnest(watched || id_column) AS name
        WHERE NOT EXISTS (SELECT FROM pg_attribute
                          WHERE attrelid = images AND attname = name AND attnum > 0 AND NOT attisdropped);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'the table % has no column %', images, missing;
    END IF;
    SELECT string_agg(format('OLD.%I', name), ', '), string_agg(format('NEW.%I', name), ', ') INTO before, after
        FROM unnest(watched) AS name;
    -- One function for each table: two tables of one database may each have a gateway.
    SELECT format('%I.%I', nspname, left('image_gateway_changed_' || relname, 63)) INTO function_name
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = images;

    EXECUTE format($ddl$
        CREATE OR REPLACE FUNCTION %1$s() RETURNS trigger LANGUAGE plpgsql AS $function$
        DECLARE
            image_id text;
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF ROW(%2$s) IS NOT DISTINCT FROM ROW(%3$s) THEN
                    RETURN NULL;
                END IF;
            END IF;
            image_id := OLD.%4$I::text;
            IF octet_length(image_id) <= 128 THEN  -- the gateway accepts no longer ids; a payload is limited to 8,000 bytes
                PERFORM pg_notify('image_gateway', image_id);
            END IF;
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            BEGIN
                -- A column was altered or dropped since, or its type has no equality operator. JSON can be compared.
                IF TG_OP = 'UPDATE' THEN
                    IF NOT EXISTS (SELECT FROM unnest(%5$L::text[]) AS name
                                   WHERE to_jsonb(OLD) -> name IS DISTINCT FROM to_jsonb(NEW) -> name) THEN
                        RETURN NULL;
                    END IF;
                END IF;
                image_id := rtrim(to_jsonb(OLD) ->> %4$L);  -- char(n) is padded in JSON
                IF image_id IS NULL THEN
                    RAISE WARNING 'image_gateway: there is no column %%, install the trigger again', %4$L;
                ELSIF octet_length(image_id) <= 128 THEN
                    PERFORM pg_notify('image_gateway', image_id);
                END IF;
            EXCEPTION WHEN OTHERS THEN
                RAISE WARNING 'image_gateway: a change was not notified: %%', SQLERRM;
            END;
            RETURN NULL;
        END
        $function$
    $ddl$, function_name, before, after, id_column, watched);

    EXECUTE format('DROP TRIGGER IF EXISTS image_gateway_updated ON %s', images);
    EXECUTE format('DROP TRIGGER IF EXISTS image_gateway_deleted ON %s', images);
    EXECUTE format('DROP TRIGGER IF EXISTS image_gateway_changed ON %s', images);
    EXECUTE format(
        'CREATE TRIGGER image_gateway_changed AFTER UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s()',
        images, function_name);
END
$install$;

NOTIFY image_gateway, '-installed';  -- gateways that listen look for the trigger now

COMMIT;
