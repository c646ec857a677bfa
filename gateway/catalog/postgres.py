"""The adapter of the application's Postgres: image id -> ``ImageRecord``, one or many."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiopg
import psycopg2

from gateway.catalog.query import KILL_LINKS, LINKS_TABLE, CatalogQuery
from gateway.catalog.record import ImageRecord, Rows
from gateway.errors import CatalogUnavailable
from gateway.metrics.collectors import Metrics
from gateway.settings import PostgresSettings

logger = logging.getLogger(__name__)

# psycopg2 takes the encoding of the server otherwise; in a database of SQL_ASCII it then decodes nothing but ASCII.
CLIENT_ENCODING = "UTF8"
Row = Sequence[Any]


class CatalogQueryRefused(CatalogUnavailable):
    """Postgres answers, but the gateway's query cannot work: a table, a column or a grant is missing."""


class PostgresCatalog:
    """Reads rows of images; every call is bounded by ``postgres.timeout`` and raises ``CatalogUnavailable``."""

    def __init__(self, pool: aiopg.Pool, query: CatalogQuery, timeout: float, metrics: Metrics) -> None:
        self._pool = pool
        self._query = query
        self._timeout = timeout
        self._metrics = metrics
        self._id_type: str | None = None

    async def fetch(self, image_id: str) -> ImageRecord | None:
        """The image's record; None when there is no such image, it is not active, or its row cannot be served."""
        return (await self.fetch_many([image_id])).get(image_id)

    async def fetch_many(self, image_ids: Sequence[str]) -> Mapping[str, ImageRecord]:
        """The records of those of ``image_ids`` that can be served, in one query."""
        return (await self.fetch_rows(image_ids)).records

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        """The rows of ``image_ids``, in one query."""
        try:
            async with self._translated_errors(), self._cursor() as cursor:
                id_type = self._id_type or await self._learn_id_type(cursor)
                askable = self._query.askable(image_ids, id_type)
                if len(askable) < len(image_ids) and id_type == self._id_type:
                    # These are no ids of that type, or the column has another type since the type was learnt.
                    id_type = await self._learn_id_type(cursor)
                    askable = self._query.askable(image_ids, id_type)
                self._id_type = id_type
                found, not_utf8 = await self._select(cursor, askable, id_type)
        except CatalogUnavailable:
            self._metrics.catalog_queries.labels(result="error").inc()
            raise
        rows = self._read(found, not_utf8)
        self._metrics.catalog_queries.labels(result="found" if rows.records else "missing").inc()
        return rows

    async def try_query(self) -> None:
        """Return when the query that requests use works; it asks for no row.

        Raises ``CatalogQueryRefused`` when Postgres says that the query cannot work, ``CatalogUnavailable`` when
        Postgres does not answer in time.
        """
        async with self._translated_errors(), self._cursor() as cursor:
            id_type = await self._learn_id_type(cursor)
            await cursor.execute(self._query.select_sql(id_type), ([],))
            self._id_type = id_type

    async def any_image(self) -> ImageRecord | None:
        """Some image of the table, None when it holds none; raises ``CatalogUnavailable`` that says what is wrong.

        How often its links were killed is not asked.
        """
        async with self._translated_errors(), self._cursor() as cursor:
            await cursor.execute(self._query.any_sql)
            row = await cursor.fetchone()
        return next(iter(self._read([row] if row is not None else []).records.values()), None)

    async def _select(
        self, cursor: aiopg.Cursor, image_ids: Sequence[str], id_type: str
    ) -> tuple[list[Row], list[str]]:
        """The rows of ``image_ids``, and the ids of rows that hold text which is not UTF-8.

        Postgres refuses the whole query for one such row, so the ids are then asked for in halves.
        """
        if not image_ids:
            return [], []
        try:
            await cursor.execute(self._query.select_sql(id_type), (list(image_ids),))
            return await cursor.fetchall(), []
        except psycopg2.errors.CharacterNotInRepertoire:
            if len(image_ids) == 1:
                return [], list(image_ids)
        middle = len(image_ids) // 2
        found, not_utf8 = await self._select(cursor, image_ids[:middle], id_type)
        more, more_not_utf8 = await self._select(cursor, image_ids[middle:], id_type)
        return found + more, not_utf8 + more_not_utf8

    def _read(self, found: Sequence[Row], not_utf8: Sequence[str] = ()) -> Rows:
        records: dict[str, ImageRecord] = {}
        unusable = dict.fromkeys(not_utf8, "the row holds text that is not UTF-8")
        for row in found:
            try:
                record = self._query.read(row)
            except ValueError as error:
                unusable[row[0]] = str(error)
            else:
                records[record.image_id] = record
        for image_id, reason in unusable.items():
            logger.warning("row cannot be served: image_id=%s reason=%s", image_id, reason)
            self._metrics.catalog_queries.labels(result="unusable").inc()
        return Rows(records, unusable)

    async def kill_links(self, image_id: str) -> int:
        """Make every signed link to the image worthless; how often that was done by now."""
        async with self._translated_errors(), self._cursor() as cursor:
            await cursor.execute(KILL_LINKS, (image_id,))
            (killed,) = await cursor.fetchone()
        return int(killed)

    async def try_links(self) -> None:
        """Return when the table of killed links can be read and written; raises ``CatalogUnavailable``."""
        async with self._translated_errors(), self._cursor() as cursor:
            await cursor.execute(
                "SELECT bool_and(has_table_privilege(to_regclass(%s), privilege)) "
                "FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) privilege WHERE to_regclass(%s) IS NOT NULL",
                (LINKS_TABLE, LINKS_TABLE),
            )
            (granted,) = await cursor.fetchone()
        if granted is None:
            raise CatalogUnavailable(f"there is no table {LINKS_TABLE}")
        if not granted:
            raise CatalogUnavailable(f"SELECT, INSERT and UPDATE on {LINKS_TABLE} are not all granted")

    async def _learn_id_type(self, cursor: aiopg.Cursor) -> str:
        await cursor.execute(self._query.id_type_sql, self._query.id_type_parameters)
        row = await cursor.fetchone()
        if row is None:
            table, column = self._query.id_type_parameters
            raise CatalogQueryRefused(f"there is no table {table} with a column {column}")
        return str(row[0])

    @asynccontextmanager
    async def _cursor(self) -> AsyncIterator[aiopg.Cursor]:
        async with asyncio.timeout(self._timeout), self._pool.acquire() as connection, connection.cursor() as cursor:
            yield cursor

    @asynccontextmanager
    async def _translated_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise CatalogUnavailable(f"no answer within {self._timeout:g} s") from error
        except psycopg2.ProgrammingError as error:
            self._id_type = None
            raise CatalogQueryRefused(error.diag.message_primary or " ".join(str(error).split())) from error
        except (psycopg2.Error, OSError) as error:
            self._id_type = None  # the table may have been altered
            raise CatalogUnavailable(" ".join(str(error).split())) from error
        except asyncio.CancelledError:
            # aiopg turns the server's statement_timeout into a cancellation that nobody asked for.
            task = asyncio.current_task()
            if task is not None and task.cancelling() == 0:
                raise CatalogUnavailable("the server cancelled the query") from None
            raise


@asynccontextmanager
async def open_catalog(
    settings: PostgresSettings,
    *,
    default_bucket: str,
    default_region: str,
    metrics: Metrics,
    with_links: bool = False,
) -> AsyncIterator[PostgresCatalog]:
    """A catalog on its own connection pool, which opens no connection before one is needed."""
    # A query abandoned by us would go on in the server: it is told to stop soon after we have.
    server_limit = f"SET statement_timeout = {int((settings.timeout + 1) * 1000)}"

    async def limit_statements(connection: aiopg.Connection) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(server_limit)

    async with aiopg.create_pool(
        settings.dsn.get_secret_value(),
        minsize=0,
        maxsize=settings.pool_size,
        timeout=settings.timeout,
        enable_hstore=False,
        enable_json=False,
        enable_uuid=False,
        application_name="image-gateway",
        client_encoding=CLIENT_ENCODING,
        on_connect=limit_statements,
    ) as pool:
        query = CatalogQuery(settings, default_bucket, default_region, with_links=with_links)
        yield PostgresCatalog(pool, query, settings.timeout, metrics)
