"""Inspection of the database for operators: grants, columns, triggers, and whether notifications arrive."""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import aiopg
import psycopg2
from psycopg2.extensions import parse_dsn, quote_ident

from gateway.catalog.change_feed import CHANNEL
from gateway.catalog.found_tables import FOUND_TABLES_SQL, FoundTable
from gateway.catalog.notifications import TEST_PREFIX
from gateway.catalog.pool import open_connection
from gateway.catalog.query import LINKS_TABLE, quoted_table
from gateway.catalog.server_addresses import ServerAddresses
from gateway.errors import CatalogUnavailable
from gateway.settings import PostgresSettings

_MOST_SECONDS: Final = 3.0  # for all queries together
# Bits of pg_trigger.tgtype (PostgreSQL, src/include/catalog/pg_trigger.h).
_ROW, _BEFORE, _INSERT, _DELETE, _UPDATE = 1, 2, 4, 8, 16
_NO_CONNECT: Final = re.compile(r'permission denied for database "(.+?)" ')
_DISABLED: Final = ("D", "R")  # pg_trigger.tgenabled: never, and on replicas only

_TABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, pg_table_is_visible(c.oid), has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = %s AND n.nspname = COALESCE(%s, n.nspname) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname LIMIT 1
"""
_COLUMNS = """
SELECT attname, has_column_privilege(attrelid, attnum, 'SELECT') FROM pg_attribute
WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped
"""
_TRIGGERS = """
SELECT t.tgenabled::text, t.tgtype::integer, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = %s::oid AND NOT t.tgisinternal AND p.prosrc LIKE '%%pg_notify(''image_gateway''%%'
"""


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """Facts about the database for operators. Each ``…_problem`` is None if there is no problem.

    address: user, host and database, without the password.
    repairs: SQL statements to run.
    tables: the tables that the gateway's queries find.
    """

    address: str
    table_problem: str | None
    repairs: Sequence[str]
    changes_problem: str | None
    links_problem: str | None
    tables: Sequence[FoundTable] = ()
    path_problem: str | None = None


async def inspect_database(
    settings: PostgresSettings, *, with_links: bool, tells_gateways: bool = False
) -> DatabaseReport:
    """Return the report. Raises ``CatalogUnavailable`` with the reason if Postgres does not answer.

    ``tells_gateways``: make running gateways look for the trigger, too, so that their metrics and consoles agree with
    this report.
    """
    seconds = min(_MOST_SECONDS, settings.timeout)
    try:
        async with asyncio.timeout(seconds):
            dsn = settings.dsn.get_secret_value()
            async with _connection(settings, dsn) as connection, connection.cursor() as cursor:
                report = await Inspection(settings, cursor).report(with_links=with_links)
            if tells_gateways and settings.listen:
                with suppress(psycopg2.Error, OSError):  # a standby refuses it
                    await _tell_gateways(settings)
            return report
    except TimeoutError as error:
        raise CatalogUnavailable(f"no answer within {seconds:g} s") from error
    except (psycopg2.Error, OSError) as error:
        message = " ".join(str(error).split())
        if refused := _NO_CONNECT.search(message):  # an error of connecting has no SQLSTATE
            return _without_connect(settings, refused[1])
        raise CatalogUnavailable(message) from error


async def _tell_gateways(settings: PostgresSettings) -> None:
    async with _connection(settings, settings.primary_dsn()) as connection, connection.cursor() as cursor:
        await cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, TEST_PREFIX))


async def time_notification(settings: PostgresSettings) -> float | None:
    """Return after how many seconds a test notification arrived, None if it did not within three seconds.

    The notification is sent on a second connection: a pooler in transaction mode forgets that a connection listens.
    Replicas ignore the notification. Raises ``CatalogUnavailable``.
    """
    payload = f"{TEST_PREFIX}{secrets.token_hex(8)}"
    try:
        dsn = settings.primary_dsn()
        async with _connection(settings, dsn) as listening, _connection(settings, dsn) as sending:
            async with listening.cursor() as cursor:
                await cursor.execute(f"LISTEN {CHANNEL}")
            async with sending.cursor() as cursor:
                started = time.monotonic()
                await cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
            async with asyncio.timeout(_MOST_SECONDS):
                while (await listening.notifies.get()).payload != payload:
                    pass
            return time.monotonic() - started
    except TimeoutError:
        return None
    except (psycopg2.Error, OSError) as error:
        raise CatalogUnavailable(" ".join(str(error).split())) from error


@asynccontextmanager
async def _connection(settings: PostgresSettings, dsn: str) -> AsyncIterator[aiopg.Connection]:
    timeout = min(_MOST_SECONDS, settings.timeout)
    name = "postgres.dsn" if dsn == settings.dsn.get_secret_value() else "postgres.listen_dsn"
    async with (
        ServerAddresses(dsn, timeout, name=name) as addresses,
        open_connection(dsn, timeout, "image-gateway-check", addresses) as connection,
    ):
        yield connection


class Inspection:
    """Makes a report on one connection. Queries raise the errors of psycopg2."""

    def __init__(self, settings: PostgresSettings, cursor: aiopg.Cursor) -> None:
        self._settings = settings
        self._cursor = cursor
        self._repairs: list[str] = []
        connected = cursor.connection.raw.info
        self._user = connected.user
        self._address = f"{self._user} at {connected.host or 'a socket'}:{connected.port}, database {connected.dbname}"

    async def report(self, *, with_links: bool) -> DatabaseReport:
        """Return the report."""
        oid, problem = await self._table()
        changes = links = None
        if oid is not None and self._settings.listen:
            changes = await self._changes(oid)
        if with_links:
            links = await self._links()
        tables = await self._tables(with_links=with_links) if problem is None else []
        return DatabaseReport(
            self._address, problem, tuple(self._repairs), changes, links, tables, self._other_tables(tables)
        )

    async def _tables(self, *, with_links: bool) -> list[FoundTable]:
        names = quoted_table(self._settings.table), LINKS_TABLE if with_links else None
        await self._cursor.execute(FOUND_TABLES_SQL, names)
        return [FoundTable.of(row) for row in await self._cursor.fetchall()]

    def _other_tables(self, tables: Sequence[FoundTable]) -> str | None:
        """Return that another search path would lead to another table."""
        if "." in self._settings.table or not tables or not tables[0].others:
            return None
        return f"the search path leads to {tables[0].name}; there is also {', '.join(tables[0].others)}"

    async def _table(self) -> tuple[int | None, str | None]:
        """Return the table's oid (None if the table does not exist) and its problem (None without a problem)."""
        schema, _, table = self._settings.table.rpartition(".")
        await self._cursor.execute(_TABLE, (table, schema or None))
        found = await self._cursor.fetchone()
        if found is None:
            return None, f"there is no table {self._settings.table} in this database"
        oid, namespace, relation, is_visible, has_usage = found
        name = f"{self._quoted(namespace)}.{self._quoted(relation)}"
        if not has_usage:
            self._repairs.append(f"GRANT USAGE ON SCHEMA {self._quoted(namespace)} TO {self._quoted(self._user)}")
        await self._cursor.execute(_COLUMNS, (oid,))
        granted = dict(await self._cursor.fetchall())
        wanted = {column for column in self._settings.columns.model_dump().values() if column is not None}
        if not all(granted[column] for column in wanted & granted.keys()):
            self._repairs.append(f"GRANT SELECT ON {name} TO {self._quoted(self._user)}")
        if missing := sorted(wanted - granted.keys()):
            return oid, f"the table {name} has no column {', '.join(missing)}"
        if not schema and not is_visible and has_usage:
            return oid, f"the table is in the schema {namespace}: set postgres.table to {namespace}.{relation}"
        if self._repairs:
            return oid, f"{self._user} may not read {name}"
        return oid, None

    async def _changes(self, oid: int) -> str | None:
        """Return why changes are not notified."""
        triggers = await self._triggers(oid)
        if not triggers:
            return f"no trigger on {self._settings.table} notifies of changes"
        enabled = [(kind, source) for state, kind, source in triggers if state not in _DISABLED]
        covered = 0
        for kind, _ in enabled:
            if kind & _ROW and not kind & _BEFORE:
                covered |= kind
        if missing := [name for bit, name in ((_UPDATE, "UPDATE"), (_DELETE, "DELETE")) if not covered & bit]:
            return f"the trigger is disabled, or does not fire after {' and '.join(missing)}"
        watched = {column for column in self._settings.columns.model_dump().values() if column is not None}
        sources = " ".join(source for _, source in enabled)
        if "OLD." in sources and (unwatched := sorted(name for name in watched if not _mentions(sources, name))):
            return f"the trigger does not watch {', '.join(unwatched)}"
        return None

    async def _links(self) -> str | None:
        """Return why killed links are not notified. A missing table is not reported here, but with the query."""
        await self._cursor.execute("SELECT to_regclass(%s)::oid::bigint", (LINKS_TABLE,))
        (oid,) = await self._cursor.fetchone()
        if oid is None:
            return f"there is no table {LINKS_TABLE}"
        triggers = await self._triggers(oid)
        needed = _INSERT | _UPDATE
        if not any(state not in _DISABLED and kind & needed == needed for state, kind, _ in triggers):
            return f"no trigger on {LINKS_TABLE} notifies of killed links"
        return None

    async def _triggers(self, oid: int) -> list[tuple[str, int, str]]:
        await self._cursor.execute(_TRIGGERS, (oid,))
        return [tuple(row) for row in await self._cursor.fetchall()]

    def _quoted(self, name: str) -> str:
        return quote_ident(name, self._cursor.connection.raw)


def _mentions(source: str, column: str) -> bool:
    """Return whether a trigger's function compares the column (``format('%I')`` quotes it where it must)."""
    return re.search(rf'OLD\.("{re.escape(column)}"|{re.escape(column)}\b)', source) is not None


def _without_connect(settings: PostgresSettings, database: str) -> DatabaseReport:
    named = parse_dsn(settings.dsn.get_secret_value())
    user = named.get("user", "the user of postgres.dsn")
    address = f"{user} at {named.get('host', 'a socket')}:{named.get('port', '5432')}, database {database}"
    repair = f"GRANT CONNECT ON DATABASE {_in_quotes(database)} TO {_in_quotes(user)}"
    return DatabaseReport(address, f"{user} may not connect to {database}", (repair,), None, None)


def _in_quotes(name: str) -> str:
    """Return a name as SQL. ``quote_ident`` is not used, because it needs a connection."""
    return '"' + name.replace('"', '""') + '"'
