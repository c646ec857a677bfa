-- An application's table of images, as `image-gateway dev` makes it; the column names are the gateway's defaults.
-- Your own table may look different: postgres.table and postgres.columns in config/gateway.yaml say how, and
--   image-gateway sql images --config FILE
-- prints this for those names. It leaves a table that is there as it is.

\set ON_ERROR_STOP on

BEGIN;

CREATE TABLE IF NOT EXISTS "images" (
    "id" text PRIMARY KEY,
    "user_id" text,
    "cos_key" text NOT NULL,
    "cos_bucket" text,
    "cos_region" text,
    "mime_type" text,
    "is_public" boolean NOT NULL DEFAULT false,
    "storage_status" text NOT NULL DEFAULT 'active'
);

COMMIT;
