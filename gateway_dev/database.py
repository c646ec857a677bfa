"""The application's images table in Postgres, for development and tests."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass

import psycopg2
import psycopg2.extensions
from psycopg2.extras import execute_values
from pydantic import SecretStr

from gateway.catalog.sql_files import changes_sql, images_sql, links_sql
from gateway.settings import PostgresSettings

_UPSERT = """
INSERT INTO images (id, user_id, cos_key, cos_bucket, cos_region, mime_type, is_public, storage_status) VALUES %s
ON CONFLICT (id) DO UPDATE SET (user_id, cos_key, cos_bucket, cos_region, mime_type, is_public, storage_status) =
    (EXCLUDED.user_id, EXCLUDED.cos_key, EXCLUDED.cos_bucket, EXCLUDED.cos_region, EXCLUDED.mime_type,
     EXCLUDED.is_public, EXCLUDED.storage_status)
"""
# The comment on the tables created here: `dev` only overwrites tables that carry it.
_MARK = "made by image-gateway dev, which writes over what is in here"
_LINKS = "image_gateway_links"
_CONNECT_TIMEOUT = 10  # seconds; without it a host that drops packets blocks for minutes


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A row of the images table. ``bucket`` and ``region`` None mean the configured bucket and region."""

    image_id: str
    owner: str | None
    key: str
    bucket: str | None = None
    region: str | None = None
    content_type: str | None = None
    public: bool = False
    status: str = "active"


class ImagesTable:
    """The images table in the database at ``dsn``.

    Every method blocks, opens its own connection, and raises ``psycopg2.Error`` if the database fails.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def foreign_relation(self) -> str | None:
        """Return the name of a table or view that ``create`` did not make, but that has the name of a gateway's table.

        None if there is no such relation.
        """
        with self._cursor() as cursor:
            for name in ("images", _LINKS):
                cursor.execute("SELECT to_regclass(%s), obj_description(to_regclass(%s), 'pg_class')", (name, name))
                relation, comment = cursor.fetchone() or (None, None)
                if relation is not None and comment != _MARK:
                    return name
        return None

    def create(self) -> None:
        """Create the images table if it does not exist, with the change triggers, and mark it as ours."""
        settings = PostgresSettings(dsn=SecretStr(self._dsn))
        self._run(images_sql(settings))
        self._run(changes_sql(settings))
        self.execute("COMMENT ON TABLE images IS %s", _MARK)

    def create_links(self) -> None:
        """Create the gateway's own table of killed links if it does not exist, and mark it as ours."""
        self._run(links_sql())
        self.execute(f"COMMENT ON TABLE {_LINKS} IS %s", _MARK)

    def links_killed(self, image_id: str) -> int:
        """Return how often the links of the image were killed."""
        with self._cursor() as cursor:
            cursor.execute("SELECT killed FROM image_gateway_links WHERE image_id = %s", (image_id,))
            row = cursor.fetchone()
        return int(row[0]) if row is not None else 0

    def put(self, rows: Iterable[ImageRow]) -> None:
        """Insert the rows, or update those whose id exists."""
        with self._cursor() as cursor:
            execute_values(cursor, _UPSERT, [astuple(row) for row in rows], page_size=1000)

    def execute(self, sql: str, *parameters: object) -> None:
        """Run ``sql``, one statement or several. ``parameters`` replace its ``%s``."""
        with self._cursor() as cursor:
            cursor.execute(sql, parameters)

    def _run(self, sql: str) -> None:
        """Run ``sql`` without parameters, so that a ``%`` in it is literal."""
        with self._cursor() as cursor:
            cursor.execute(sql)

    @contextmanager
    def _cursor(self) -> Iterator[psycopg2.extensions.cursor]:
        opened = psycopg2.connect(self._dsn, connect_timeout=_CONNECT_TIMEOUT)
        with closing(opened) as connection, connection, connection.cursor() as cursor:
            yield cursor
