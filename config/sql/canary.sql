-- The function by which the canary changes a row of its own (canary.change), so that each front is seen to forget it.
-- It gives that row the other one of two keys, and can do nothing else; only the gateway's user may call it.
--
-- Run what the gateway prints for your configuration as the owner of the table:
--   image-gateway sql canary --config FILE
-- It is one transaction and may be run again. In a tool that opens a transaction itself, leave out BEGIN and COMMIT.

BEGIN;
SET LOCAL lock_timeout = '5s';

DO $install$
DECLARE
    table_name CONSTANT text := '"images"';
    id_column CONSTANT text := 'id';
    key_column CONSTANT text := 'cos_key';
    image_id CONSTANT text := 'canary';
    first_key CONSTANT text := 'canary/1.png';
    second_key CONSTANT text := 'canary/2.png';
    caller CONSTANT text := 'gateway';

    images text;
BEGIN
    SELECT format('%I.%I', nspname, relname) INTO images
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = table_name::regclass;
    EXECUTE format($ddl$
        CREATE OR REPLACE FUNCTION image_gateway_touch() RETURNS text
            LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
            UPDATE %1$s SET %2$I = CASE WHEN %2$I = %3$L THEN %4$L ELSE %3$L END WHERE %5$I = %6$L RETURNING %2$I::text
        $function$
    $ddl$, images, key_column, first_key, second_key, id_column, image_id);
    REVOKE ALL ON FUNCTION image_gateway_touch() FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION image_gateway_touch() TO %I', caller);
END
$install$;

COMMIT;
