-- An application's table of images, as `image-gateway dev` makes it; the column names are the gateway's defaults.
-- Your own table may look different: postgres.table and postgres.columns in config/gateway.yaml say how.
CREATE TABLE IF NOT EXISTS images (
    id             text PRIMARY KEY,
    user_id        text,
    cos_key        text NOT NULL,
    cos_bucket     text,
    cos_region     text,
    mime_type      text,
    is_public      boolean NOT NULL DEFAULT false,
    storage_status text NOT NULL DEFAULT 'active'
);
