-- Example of an application's images table, as `image-gateway dev` creates it, with the gateway's default column names.
-- Your own table may differ: configure its names in postgres.table and postgres.columns of config/gateway.yaml. Then
--   image-gateway sql images --config FILE
-- prints this script for those names. It does not change an existing table.

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
