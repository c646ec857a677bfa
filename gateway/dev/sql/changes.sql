-- Tells the gateway at once when an image's row is changed or deleted, so that every replica drops what it knows.
-- Without these triggers the gateway works as well; changes then take effect when what is cached runs out.
--
-- Run it once, as the owner of the table:  psql "$DSN" -f config/sql/changes.sql
-- Change the names where your table is not "images" or its columns have other names; leave out columns it lacks.
--
-- The channel is image_gateway, the payload the id. Postgres sends a notice when the transaction commits, and equal
-- notices of one transaction once.

CREATE OR REPLACE FUNCTION image_gateway_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('image_gateway', OLD.id::text);
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS image_gateway_updated ON images;
CREATE TRIGGER image_gateway_updated AFTER UPDATE ON images FOR EACH ROW
    WHEN ((OLD.id, OLD.user_id, OLD.cos_key, OLD.cos_bucket, OLD.cos_region, OLD.mime_type, OLD.is_public,
           OLD.storage_status)
          IS DISTINCT FROM
          (NEW.id, NEW.user_id, NEW.cos_key, NEW.cos_bucket, NEW.cos_region, NEW.mime_type, NEW.is_public,
           NEW.storage_status))
    EXECUTE FUNCTION image_gateway_changed();

DROP TRIGGER IF EXISTS image_gateway_deleted ON images;
CREATE TRIGGER image_gateway_deleted AFTER DELETE ON images FOR EACH ROW
    EXECUTE FUNCTION image_gateway_changed();
