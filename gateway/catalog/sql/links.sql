-- Table that counts how often all signed links to an image were killed. It is the only table that the gateway writes.
-- Needed if access.signed_links is configured. Run it in the first schema of the search_path of the gateway's user, by a
-- driver, a migration tool, or
--   psql "$DSN" -v ON_ERROR_STOP=1 -f config/sql/links.sql
-- It is one transaction and may be run again. In a tool that opens a transaction itself, leave out BEGIN and COMMIT.
--
-- The gateway's user needs, in addition to SELECT on the images:
--   GRANT SELECT, INSERT, UPDATE ON image_gateway_links TO gateway;
-- and nothing else. It never deletes rows: that would make killed links valid again.

BEGIN;
SET LOCAL lock_timeout = '5s';

CREATE TABLE IF NOT EXISTS image_gateway_links (
    image_id  text PRIMARY KEY,
    killed    integer NOT NULL CHECK (killed > 0),
    killed_at timestamptz NOT NULL DEFAULT now()
);

-- Every replica listens on this channel and invalidates its entries of the image.
CREATE OR REPLACE FUNCTION image_gateway_links_killed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('image_gateway', NEW.image_id);
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS image_gateway_links_killed ON image_gateway_links;
CREATE TRIGGER image_gateway_links_killed
    AFTER INSERT OR UPDATE ON image_gateway_links
    FOR EACH ROW EXECUTE FUNCTION image_gateway_links_killed();

COMMIT;
