-- How often all signed links to an image have been killed: the only table that the gateway writes.
-- Needed when access.signed_links is configured; run it in the schema that the gateway's user finds first:
--   psql "$DSN" -f config/sql/links.sql        or   image-gateway sql links --config FILE | psql "$DSN"
-- It is one transaction, and may be run again.
--
-- The gateway's user needs, beside SELECT on the images:
--   GRANT SELECT, INSERT, UPDATE ON image_gateway_links TO gateway;
-- and nothing else: it never deletes here, or the links that were killed would live again.

\set ON_ERROR_STOP on

BEGIN;
SET LOCAL lock_timeout = '5s';

CREATE TABLE IF NOT EXISTS image_gateway_links (
    image_id  text PRIMARY KEY,
    killed    integer NOT NULL CHECK (killed > 0),
    killed_at timestamptz NOT NULL DEFAULT now()
);

-- Every replica listens on this channel and forgets what it keeps of the image.
CREATE OR REPLACE FUNCTION image_gateway_links_killed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('image_gateway', NEW.image_id);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER image_gateway_links_killed
    AFTER INSERT OR UPDATE ON image_gateway_links
    FOR EACH ROW EXECUTE FUNCTION image_gateway_links_killed();

COMMIT;
