"""The application's table in Postgres: image ids -> ``ImageRecord``."""

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import aiopg
import psycopg2

from gateway.catalog import triggers
from gateway.catalog.database_report import (
    HELD_LOCK,
    DatabaseReport,
    FoundTable,
    held_lock,
    inspect_database,
    report_without_connect,
)
from gateway.catalog.metrics import CatalogMetrics
from gateway.catalog.pool import Cursor, Pool, open_pool
from gateway.catalog.query import (
    ID_TYPE,
    KILL_LINKS,
    LINKS_GRANTED,
    LINKS_KILLED,
    LINKS_TABLE,
    SIZE,
    CatalogQuery,
    quoted_table,
    tables_read,
)
from gateway.catalog.record import MOST_GRANTS, ImageRecord, InspectedRow, Rows, RowsUnreadable, read_row, valid_ids
from gateway.catalog.replay_positions import ReplayPositions, read_position, read_replayed
from gateway.catalog.server_addresses import Resolve, ServerAddresses, system_addresses
from gateway.catalog.triggers import TriggerReport, report_on, watched_tables
from gateway.catalog.unreadable_rows import UNREADABLE, Row, errors_of_the_table, read_apart, why_unreadable
from gateway.concurrency.time_limits import loop_timeout
from gateway.errors import CatalogUnavailable, DependencyDegraded
from gateway.settings import PostgresSettings

logger = logging.getLogger(__name__)

_PROBE_TIMEOUT = 1.5  # seconds
_PRIMARY_SHARE = 0.25  # of the connections, for changed rows and links, where rows are read elsewhere
_LOCK_SHARE = 0.8  # of the time of a query; the rest is for the question who holds the lock
_MOST_CROWDED = 1000

# Returns the context of a query, given its operation and its table.
ObserveQuery = Callable[[str, str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Primary:
    """Connections to the Postgres server that is written to, where ``postgres.dsn`` may lead to a standby (its copy).

    positions: how far a standby must have replayed the primary's log to have the changed rows.
    """

    pool: Pool
    positions: ReplayPositions


class CatalogQueryRefused(CatalogUnavailable):
    """Postgres answers that the query cannot work: a table, a column or a grant is missing."""


@dataclass(slots=True, eq=False)
class PostgresCatalog:
    """Reads the rows of images from the application's Postgres. Every call may raise ``CatalogUnavailable``.

    A call takes at most ``timeout`` seconds of an event loop that runs on time (``loop_timeout``). An error names the
    lock that the query waited for.

    primary: reads the rows that the server of ``pool`` may not have yet. None: ``pool`` leads to the primary.
    """

    pool: Pool
    query: CatalogQuery
    timeout: float
    metrics: CatalogMetrics
    observe: ObserveQuery | None = None
    primary: Primary | None = None
    # What held up the last query, and no query has been answered since.
    _lock: str | None = field(default=None, init=False)
    # A connection leads to one server, and a server's position never goes back.
    _replayed: WeakKeyDictionary[aiopg.Connection, int] = field(default_factory=WeakKeyDictionary, init=False)
    _id_type: str | None = field(default=None, init=False)
    _tables: str | None = field(default=None, init=False)  # those that the first probe found
    _crowded: set[str] = field(default_factory=set, init=False)  # images that were logged

    @property
    def positions(self) -> ReplayPositions | None:
        """The positions of changes, for the change feed. None: the rows are always current."""
        return self.primary.positions if self.primary is not None else None

    async def fetch(self, image_id: str) -> ImageRecord | None:
        """Return the image's record, or None if there is no such image, it is not active, or its row is unusable."""
        return (await self.fetch_rows([image_id])).records.get(image_id)

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        """Return the records of ``image_ids``, and the reasons why rows are unusable, in one query."""
        try:
            async with self._cursor_for(image_ids) as cursor:
                id_type = self._id_type or await self._fetch_id_type(cursor)
                valid = valid_ids(image_ids, id_type)
                if len(valid) < len(image_ids) and id_type == self._id_type:
                    # The ids do not fit the type, or the column's type changed since it was read.
                    id_type = await self._fetch_id_type(cursor)
                    valid = valid_ids(image_ids, id_type)
                self._id_type = id_type
                selected, unreadable = await self._select(cursor, self.query.by_id, valid, id_type)
                if not selected and (errors := errors_of_the_table(unreadable)):
                    raise RowsUnreadable(" ".join(str(next(iter(errors.values()))).split()), errors)
                self._lock = None
        except CatalogUnavailable:
            self.metrics.catalog_queries.labels(result="error").inc()
            raise
        rows = self._read(selected, unreadable)
        self.metrics.catalog_queries.labels(result="found" if rows.records else "missing").inc()
        return rows

    async def find_aliases(self, aliases: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of rows that can be served, by alias, from the server that is written to.

        An alias that the encoding of the database does not have is of no row.
        """
        async with self._cursor(writable=True) as cursor:
            rows, unreadable = await self._select(cursor, self.query.by_alias, aliases, "text")
            if errors := errors_of_the_table(unreadable):
                raise next(iter(errors.values()))
            return {row[0]: row[1] for row in rows}

    async def aliases_of(self, image_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the aliases of rows with any status, by id, from the server that is written to.

        A row that cannot be read has none here: it must not hold up the purges of other images.
        """
        async with self._cursor(writable=True) as cursor:
            id_type = await self._fetch_id_type(cursor)
            rows, _ = await self._select(cursor, self.query.aliases_by_id, valid_ids(image_ids, id_type), id_type)
            return {row[0]: row[1] for row in rows}

    async def inspect(self, image_id: str) -> InspectedRow | None:
        """Return, for an operator, the row of ``image_id`` and why it is not served, or None without such a row."""
        async with self._cursor_for([image_id]) as cursor:
            id_type = await self._fetch_id_type(cursor)
            await self._execute_by_id(cursor, self.query.inspect_by_id, id_type, valid_ids([image_id], id_type))
            row = await cursor.fetchone()
        if row is None:
            return None
        *known, status, deleted_at, is_served = row
        active = " or ".join(self.query.settings.active_values)
        reason = None if is_served else f"its status is {status or 'NULL'}, and not {active}"
        if deleted_at is not None:
            reason = f"it was deleted: {self.query.settings.columns.deleted_at} is {deleted_at}"
        try:
            return InspectedRow(self._record(known), status, reason)
        except ValueError as error:
            return InspectedRow(None, status, str(error))

    async def try_query(self) -> None:
        """Run the query that requests use, for no id, at the server that they would ask.

        Raises ``CatalogQueryRefused`` if the query cannot work, and ``CatalogUnavailable`` if Postgres does not answer
        within a second and a half: who asks for readiness does not wait longer.
        """
        async with self._cursor_for((), seconds=_PROBE_TIMEOUT) as cursor:
            id_type = await self._fetch_id_type(cursor)
            await self._execute_by_id(cursor, self.query.by_id, id_type, [])
            self._id_type, self._lock = id_type, None

    async def probe(self) -> None:
        """Run ``try_query``, and look whether it finds the same tables as before, with all their rows.

        Raises ``DependencyDegraded`` if it does not: then nothing fails, and images are unknown.
        """
        await self.try_query()
        async with self._cursor(seconds=_PROBE_TIMEOUT) as cursor:
            names = tables_read(self.query.settings, with_links=self.query.with_links)
            await self._execute(cursor, FoundTable.QUERY, (names,))
            found = [FoundTable(*row) for row in await cursor.fetchall()]
        if problem := next((table.problem for table in found if table.problem is not None), None):
            raise DependencyDegraded(problem)
        tables = ", ".join(table.name for table in found)
        self._tables = self._tables or tables
        if tables != self._tables:
            raise DependencyDegraded(f"the search path leads to {tables}, and led to {self._tables} before")

    async def report(self) -> DatabaseReport:
        try:
            async with self._cursor() as cursor:
                return await inspect_database(cursor, self.query.settings, with_links=self.query.with_links)
        except CatalogUnavailable as error:
            if (report := report_without_connect(self.query.settings, str(error))) is None:
                raise
            return report

    async def triggers(self) -> list[TriggerReport]:
        """Return a report on each table of which changed rows must be notified, from the server that notifies."""
        reports = []
        async with self._cursor(writable=True) as cursor:
            for table in watched_tables(self.query.settings):
                await self._execute(cursor, triggers.QUERY, (table.quoted,))
                found, relation = [triggers.Trigger(*row) for row in await cursor.fetchall()], None
                if not found:
                    listed = [quoted_table(change.table) for change in self.query.settings.changes]
                    await self._execute(cursor, triggers.RELATION, (table.quoted, listed, table.quoted))
                    relation = next((triggers.Relation(*row) for row in await cursor.fetchall()), None)
                reports.append(report_on(table, found, relation))
        return reports

    async def any_row_may_have_changed(self) -> None:
        """Read no row from a standby that has not every change until now. Later changes are notified.

        If the primary does not answer, rows are read from it, until a change is notified.
        """
        if self.primary is None:
            return
        self.primary.positions.lost()
        async with self._cursor(writable=True) as cursor:
            self.primary.positions.all_changed(await read_position(cursor))

    async def sample_images(self) -> list[ImageRecord]:
        """Return an image of each bucket among the table's first 100,000 rows, without counts of killed links."""
        async with self._cursor() as cursor:
            await self._execute(cursor, self.query.sample)
            rows = await cursor.fetchall()
        return list(self._read(rows, {}).records.values())

    async def random_images(self, count: int) -> list[ImageRecord]:
        """Return at most ``count`` images of random rows (of a view's first 100,000). Unusable rows are left out."""
        async with self._cursor() as cursor:
            await self._execute(cursor, SIZE, (self.query.table,))
            size = await cursor.fetchone()
            rows: list[Row] = []
            # The number of rows is an estimate, and few of the rows may be active.
            for estimate in dict.fromkeys((size[0] if size is not None else None, None)):
                if not rows:
                    await self._execute(cursor, self.query.random(estimate), (count,))
                    rows = await cursor.fetchall()
        images = []
        for row in rows:
            with suppress(ValueError):
                images.append(self._record(row))
        return images

    async def _select(
        self, cursor: Cursor, by_id: str, image_ids: Sequence[str], id_type: str
    ) -> tuple[list[Row], dict[str, psycopg2.Error]]:
        """Return the rows of ``image_ids``, and why some cannot be read (``read_apart``)."""

        async def read(batch: Sequence[str]) -> Sequence[Row]:
            await self._execute_by_id(cursor, by_id, id_type, batch)
            return await cursor.fetchall()

        try:
            return list(await read(image_ids)) if image_ids else [], {}
        except UNREADABLE:
            return await read_apart(read, image_ids)

    def _record(self, row: Row) -> ImageRecord:
        query = self.query
        return read_row(row, query.default_bucket, query.regions, query.settings.key_prefix)

    def _read(self, selected: Sequence[Row], unreadable: Mapping[str, psycopg2.Error]) -> Rows:
        records: dict[str, ImageRecord] = {}
        unusable = {image_id: why_unreadable(error) for image_id, error in unreadable.items()}
        for row in selected:
            try:
                records[row[0]] = self._record(row)
                self._note_crowd(records[row[0]])
            except ValueError as error:
                unusable[row[0]] = str(error)
        for image_id, reason in unusable.items():
            logger.warning("row cannot be served: image_id=%s reason=%s", image_id, reason)
            self.metrics.catalog_queries.labels(result="unusable").inc()
        return Rows(records, unusable)

    def _note_crowd(self, image: ImageRecord) -> None:
        """Log once that an image has more grants than count."""
        if image.viewers is None or image.viewers.is_complete or image.public or image.image_id in self._crowded:
            return
        if len(self._crowded) >= _MOST_CROWDED:
            self._crowded.clear()
        self._crowded.add(image.image_id)
        logger.warning("image is for its owner alone: image_id=%s reason=over %d grants", image.image_id, MOST_GRANTS)

    async def kill_links(self, image_id: str) -> int:
        """Kill every signed link to the image, and return how often its links have been killed."""
        async with self._cursor("INSERT", LINKS_TABLE, writable=True) as cursor:
            await self._execute(cursor, KILL_LINKS, (image_id,))
            (killed,) = await cursor.fetchone()
            if self.primary is not None:
                self.primary.positions.changed([image_id], await read_position(cursor))
        return int(killed)

    async def touch_canary(self) -> str | None:
        """Give the canary's own row its other key, and return that; None if there is no such row."""
        async with self._cursor("UPDATE", writable=True) as cursor:
            await self._execute(cursor, "SELECT image_gateway_touch()")
            (key,) = await cursor.fetchone()
        return str(key) if key is not None else None

    async def links_killed(self, image_id: str) -> int:
        """Return how often the links of the image have been killed, which may have no row any more."""
        async with self._cursor(table=LINKS_TABLE, writable=True) as cursor:
            await self._execute(cursor, LINKS_KILLED, (image_id,))
            row = await cursor.fetchone()
        return int(row[0]) if row is not None else 0

    async def try_links(self) -> None:
        """Return if the table of killed links can be read and written. Raises ``CatalogUnavailable``."""
        async with self._cursor(table=LINKS_TABLE, writable=True) as cursor:
            await self._execute(cursor, LINKS_GRANTED, (LINKS_TABLE, LINKS_TABLE))
            (granted,) = await cursor.fetchone()
        if granted is None:
            raise CatalogUnavailable(f"there is no table {LINKS_TABLE}")
        if not granted:
            raise CatalogUnavailable(f"SELECT, INSERT and UPDATE on {LINKS_TABLE} are not all granted")

    async def _fetch_id_type(self, cursor: Cursor) -> str:
        table, column = self.query.table, self.query.settings.columns.id
        await self._execute(cursor, ID_TYPE, (table, column))
        if (row := await cursor.fetchone()) is None:
            raise CatalogQueryRefused(f"there is no table {table} with a column {column}")
        return str(row[0])

    @asynccontextmanager
    async def _cursor_for(self, image_ids: Sequence[str], *, seconds: float = math.inf) -> AsyncIterator[Cursor]:
        """Yield a cursor at a server that has the changes of these images which were notified, or read before."""
        seconds = min(seconds, self.timeout)
        if self.primary is None:
            async with self._cursor(seconds=seconds) as cursor:
                yield cursor
            return
        positions, is_at_primary = self.primary.positions, False
        try:
            async with loop_timeout(seconds):
                async with self._cursor(seconds=seconds) as cursor:
                    # A change that was heard while the connection was awaited counts, too.
                    replayed = self._replayed.get(cursor.connection, 0)
                    if not positions.are_in(replayed, image_ids):
                        replayed = self._replayed[cursor.connection] = await read_replayed(cursor)
                    if positions.are_in(replayed, image_ids):
                        yield cursor
                        return
                is_at_primary = True
                async with self._cursor(writable=True, seconds=seconds) as cursor:
                    yield cursor
                    if not positions.is_lost():  # changes that were not heard may have been read
                        positions.changed(image_ids, await read_position(cursor))
        except TimeoutError as error:
            raise self._no_answer(seconds, writable=is_at_primary) from error

    async def _execute(self, cursor: Cursor, sql: str, parameters: Sequence[Any] | None = None) -> None:
        try:
            await cursor.execute(cursor.limit + sql, parameters)
        except psycopg2.errors.LockNotAvailable:
            await cursor.execute(cursor.limit + HELD_LOCK, (self.query.table,))
            self._lock = f"a query waited for a lock: {held_lock(await cursor.fetchone())}"
            raise CatalogUnavailable(self._lock) from None

    async def _execute_by_id(self, cursor: Cursor, sql: str, id_type: str, image_ids: Sequence[str]) -> None:
        """Execute a query of rows by id. The ids are cast to the column's type, so that its index is used."""
        await self._execute(cursor, f"{sql} = ANY(%s::{id_type}[])", (list(image_ids),))

    @asynccontextmanager
    async def _cursor(
        self, operation: str = "SELECT", table: str | None = None, *, writable: bool = False, seconds: float = math.inf
    ) -> AsyncIterator[Cursor]:
        """Yield a cursor for ``seconds`` at most, if ``writable`` of the server that is written to.

        table: what is read or written. None: the images.
        """
        pool = self.primary.pool if writable and self.primary is not None else self.pool
        seconds = min(seconds, self.timeout)
        async with self._translated_errors(seconds, writable=writable):
            with self.observe(operation, table or self.query.settings.table) if self.observe else nullcontext():
                async with loop_timeout(seconds), pool.cursor() as cursor:
                    cursor.limit = _limit(seconds)
                    yield cursor

    @asynccontextmanager
    async def _translated_errors(self, seconds: float, *, writable: bool = False) -> AsyncIterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise self._no_answer(seconds, writable=writable) from error
        except psycopg2.ProgrammingError as error:
            self._id_type = None
            raise CatalogQueryRefused(error.diag.message_primary or " ".join(str(error).split())) from error
        except (psycopg2.Error, OSError) as error:
            self._id_type = None  # the table may have been altered
            raise CatalogUnavailable(" ".join(str(error).split())) from error

    def _no_answer(self, seconds: float, *, writable: bool) -> CatalogUnavailable:
        # Of two servers, the one that was asked.
        of = f" of postgres.{'listen_dsn' if writable else 'dsn'}" if self.primary is not None else ""
        return CatalogUnavailable(f"no answer{of} within {seconds:g} s{self._why_slow()}")

    def _why_slow(self) -> str:
        """Return what is known about a server that does not answer."""
        if self._lock is not None:
            return f"; {self._lock}"
        pool = self.pool
        if abandoned := pool.connections()["abandoned"]:
            return f"; {abandoned} of {pool.size} connections wait for a server, or a full pooler, that does not answer"
        return ""


def _limit(seconds: float) -> str:
    """Return SQL that limits a statement of which the gateway waits at most ``seconds`` for the answer.

    A wait for a lock ends before the gateway gives up, so that Postgres can then be asked who holds the lock. Anything
    else ends a second after the gateway has given up. It goes with each statement, because a pooler in transaction mode
    gives settings of a session to other clients.
    """
    lock, statement = int(seconds * _LOCK_SHARE * 1000), int((seconds + 1) * 1000)
    return f"SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = {statement}; "


@asynccontextmanager
async def open_catalog(
    settings: PostgresSettings,
    *,
    default_bucket: str,
    regions: Mapping[str, str],
    metrics: CatalogMetrics,
    with_links: bool = False,
    observe: ObserveQuery | None = None,
    resolve: Resolve = system_addresses,
) -> AsyncIterator[PostgresCatalog]:
    """Open a catalog with its own connection pool, which connects when a connection is first needed."""
    size, primary = max(1, settings.pool_size - settings.listen), None  # one connection is for heartbeats
    of_primary = math.ceil(size * _PRIMARY_SHARE) if settings.listen_dsn is not None else 0
    dsn = settings.dsn.get_secret_value()
    async with AsyncExitStack() as stack:
        addresses = ServerAddresses(dsn, settings.timeout, resolve)
        pool = await stack.enter_async_context(open_pool(addresses, max(1, size - of_primary), metrics.pools))
        if of_primary:
            addresses = ServerAddresses(settings.primary_dsn(), settings.timeout, resolve, "postgres.listen_dsn")
            writable = await stack.enter_async_context(open_pool(addresses, of_primary, metrics.pools))
            primary = Primary(writable, ReplayPositions(are_told=settings.listen))
        query = CatalogQuery(settings, default_bucket, regions, with_links=with_links)
        yield PostgresCatalog(pool, query, settings.timeout, metrics, observe, primary)
