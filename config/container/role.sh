# The gateway's user of compose's Postgres, which may read the images and count killed links, and nothing else. The server's
# image runs it once, when the database is new.
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    -v password="$(cat /run/secrets/gateway_password)" <<'SQL'
CREATE ROLE image_gateway LOGIN PASSWORD :'password';
GRANT SELECT ON images TO image_gateway;
GRANT SELECT, INSERT, UPDATE ON image_gateway_links TO image_gateway;
SQL
