"""The application's side of Postgres, for development and tests: a table of images, and rows in it."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass

import psycopg2
from psycopg2.extras import execute_values

# What an application that keeps images in COS might have; the column names are the defaults of the gateway.
_TABLE = """
CREATE TABLE IF NOT EXISTS images (
    id             text PRIMARY KEY,
    user_id        text,
    cos_key        text NOT NULL,
    cos_bucket     text,
    cos_region     text,
    mime_type      text,
    is_public      boolean NOT NULL DEFAULT false,
    storage_status text NOT NULL DEFAULT 'active'
)
"""
# The same as config/sql/changes.sql, which applications run.
_TRIGGERS = """
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
"""
_UPSERT = """
INSERT INTO images (id, user_id, cos_key, cos_bucket, cos_region, mime_type, is_public, storage_status) VALUES %s
ON CONFLICT (id) DO UPDATE SET (user_id, cos_key, cos_bucket, cos_region, mime_type, is_public, storage_status) =
    (EXCLUDED.user_id, EXCLUDED.cos_key, EXCLUDED.cos_bucket, EXCLUDED.cos_region, EXCLUDED.mime_type,
     EXCLUDED.is_public, EXCLUDED.storage_status)
"""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row; ``bucket`` and ``region`` None mean the configured ones."""

    image_id: str
    owner: str | None
    key: str
    bucket: str | None = None
    region: str | None = None
    content_type: str | None = None
    public: bool = False
    status: str = "active"


class ImagesTable:
    """The table at ``dsn``. Every call opens a connection of its own, blocks, and raises ``psycopg2.Error``."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def create(self) -> None:
        """Make the table, unless there is one, with the triggers that tell of changes."""
        self.execute(_TABLE)
        self.execute(_TRIGGERS)

    def put(self, rows: Iterable[ImageRow]) -> None:
        """Insert the rows, or bring those there up to date."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection, connection.cursor() as cursor:
            execute_values(cursor, _UPSERT, [astuple(row) for row in rows], page_size=1000)

    def execute(self, sql: str, *parameters: object) -> None:
        """Run one statement."""
        with closing(psycopg2.connect(self._dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
