"""What the gateway tells operators about the database: grants, columns, row security, notifications and locks."""

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import aiopg
import psycopg2
from psycopg2.extensions import parse_dsn

from gateway.catalog import triggers
from gateway.catalog.change_feed import CHANNEL, TEST_PREFIX
from gateway.catalog.pool import open_connection
from gateway.catalog.query import LINKS_TABLE, tables_read
from gateway.catalog.server_addresses import ServerAddresses
from gateway.catalog.setting_mistakes import Mistake, find_mistakes
from gateway.errors import CatalogUnavailable
from gateway.settings import PostgresSettings

_MOST_SECONDS: Final = 3.0  # until a notification is sent, or arrives
_NO_CONNECT: Final = re.compile(r'permission denied for database "(.+?)" ')

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

# The parameter is the list of the names of the tables. A view reads the tables behind it as its owner, or with
# security_invoker as the user of the view. Rows are hidden unless a policy lets that user read every row and none
# restricts that (PostgreSQL, "Rules and Privileges", "Row Security Policies").
_FOUND_TABLES: Final = r"""
WITH RECURSIVE wanted AS (
    SELECT place, to_regclass(name)::oid AS oid FROM unnest(%s) WITH ORDINALITY AS found (name, place)
), behind (place, oid, reader) AS (
    SELECT place, oid, (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user) FROM wanted
    UNION
    SELECT b.place, d.refobjid, CASE WHEN EXISTS (
        SELECT FROM pg_options_to_table(v.reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
    ) THEN b.reader ELSE v.relowner END
    FROM behind b JOIN pg_class v ON v.oid = b.oid AND v.relkind = 'v' JOIN pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
)
SELECT format('%%I.%%I', n.nspname, c.relname),
    (
        SELECT ARRAY[format('%%I.%%I', m.nspname, t.relname), quote_ident(r.rolname)]
        FROM behind b JOIN pg_class t ON t.oid = b.oid JOIN pg_namespace m ON m.oid = t.relnamespace
        JOIN pg_roles r ON r.oid = b.reader
        WHERE b.place = wanted.place AND t.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
        AND (t.relforcerowsecurity OR NOT pg_has_role(r.oid, t.relowner, 'USAGE'))
        AND NOT COALESCE((
            SELECT bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true')
                AND bool_and(p.polpermissive OR pg_get_expr(p.polqual, p.polrelid) = 'true')
            FROM pg_policy p WHERE p.polrelid = t.oid AND p.polcmd IN ('r', '*')
            AND EXISTS (SELECT FROM unnest(p.polroles) role WHERE role = 0 OR pg_has_role(r.oid, role, 'USAGE'))
        ), false)
        ORDER BY 1 LIMIT 1
    ),
    ARRAY(
        SELECT format('%%I.%%I', m.nspname, o.relname) FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
        WHERE o.relname = c.relname AND o.oid <> c.oid AND o.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND m.nspname NOT LIKE 'pg\_%%' ORDER BY 1
    )
FROM wanted JOIN pg_class c ON c.oid = wanted.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY wanted.place
"""
# Reads wait for no other lock of a table. A lock that is waited for holds up reads that come later.
# The table may be a view: so also the locks of other tables, behind those of the table itself.
HELD_LOCK: Final = r"""
SELECT format('%%I.%%I', n.nspname, c.relname), l.granted, l.pid, a.usename, a.application_name, a.state,
    extract(epoch FROM clock_timestamp() - a.state_change)::bigint,
    b.pid, b.usename, b.application_name, b.state, extract(epoch FROM clock_timestamp() - b.state_change)::bigint
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'i')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\_%%'
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_stat_activity b ON NOT l.granted AND b.pid = (pg_blocking_pids(l.pid))[1]
WHERE l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.relation = to_regclass(%s) DESC NULLS LAST, l.granted DESC, a.xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or view that Postgres finds by a name in the gateway's queries: a row of ``QUERY``, with SQL names.

    hidden: the table of which row level security hides rows, which may be behind a view, and from which user.
    others: relations of the same name in other schemas.
    """

    QUERY: ClassVar = _FOUND_TABLES
    name: str
    hidden: Sequence[str] | None
    others: Sequence[str]

    @property
    def problem(self) -> str | None:
        """What row level security does to this table; None if every row is visible."""
        if self.hidden is None:
            return None
        table, user = self.hidden
        return f"row level security may hide rows of {table} from {user}, as if they did not exist"

    @property
    def repair(self) -> str:
        """SQL after which every row of the hidden table is visible."""
        table, user = self.hidden or (self.name, "CURRENT_USER")
        return f"CREATE POLICY image_gateway_reads ON {table} FOR SELECT TO {user} USING (true)"


def held_lock(row: Sequence[Any] | None) -> str:
    """Return a row of ``HELD_LOCK`` as text. None: the query found no lock."""
    if row is None:
        return "free again, or not visible to this user"
    table, is_granted, *session = row
    holder, blocker = session[:5], session[5:]
    if is_granted:
        return f"{_session(holder)} holds AccessExclusiveLock of {table}"
    reason = f"for which {_session(blocker)} does not end"
    return f"{_session(holder)} waits for AccessExclusiveLock of {table}, {reason}"


def _session(session: Sequence[Any]) -> str:
    pid, user, application, state, seconds = session
    if pid is None:
        return "a prepared transaction"
    since = f"{state} for {seconds} s" if state is not None else "its state is hidden"
    return f"pid {pid} ({', '.join(part for part in (user, application, since) if part)})"


@dataclass(frozen=True, slots=True)
class DatabaseReport:
    """Facts about the application's Postgres for operators. Each ``…_problem`` is None if there is no problem.

    address: user, host and database, without the password.
    repairs: SQL statements to run.
    tables: the tables that the gateway's queries find.
    mistakes: settings that do not fit the tables.
    """

    address: str
    table_problem: str | None
    repairs: Sequence[str]
    links_problem: str | None
    tables: Sequence[FoundTable] = ()
    path_problem: str | None = None
    mistakes: Sequence[Mistake] = ()


async def tell_gateways(settings: PostgresSettings) -> None:
    """Make running gateways look for the trigger, so that their metrics and consoles agree with a report."""
    if not settings.listen:
        return
    with suppress(psycopg2.Error, OSError):  # a standby refuses it
        async with asyncio.timeout(_MOST_SECONDS), _connection(settings) as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, TEST_PREFIX))


async def time_notification(settings: PostgresSettings) -> float | None:
    """Return after how many seconds a test notification arrived, None if it did not within three seconds.

    The notification is sent on a second connection: a pooler in transaction mode forgets that a connection listens.
    Replicas ignore the notification. Raises ``CatalogUnavailable``.
    """
    payload = f"{TEST_PREFIX}{secrets.token_hex(8)}"
    try:
        async with _connection(settings) as listening, _connection(settings) as sending:
            async with listening.cursor() as cursor:
                await cursor.execute(f"LISTEN {CHANNEL}")
            async with sending.cursor() as cursor:
                started = time.monotonic()
                await cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
            # What arrives in the instant of the time-out counts as late, and nothing else is read from this connection.
            async with asyncio.timeout(_MOST_SECONDS):
                while (await listening.notifies.get()).payload != payload:
                    pass
            return time.monotonic() - started
    except TimeoutError:
        return None
    except (psycopg2.Error, OSError) as error:
        raise CatalogUnavailable(" ".join(str(error).split())) from error


@asynccontextmanager
async def _connection(settings: PostgresSettings) -> AsyncIterator[aiopg.Connection]:
    name = "postgres.listen_dsn" if settings.listen_dsn is not None else "postgres.dsn"
    addresses = ServerAddresses(settings.primary_dsn(), min(_MOST_SECONDS, settings.timeout), name=name)
    async with aclosing(addresses), open_connection(addresses, "image-gateway-check") as connection:
        yield connection


async def inspect_database(cursor: aiopg.Cursor, settings: PostgresSettings, *, with_links: bool) -> DatabaseReport:
    """Make a report for operators by queries on one Postgres connection. Raises the errors of psycopg2."""
    connected, table, elsewhere = cursor.connection.raw.info, settings.table, None
    address = f"{connected.user} at {connected.host or 'a socket'}:{connected.port}, database {connected.dbname}"
    problem, grants = await _problem_of_table(cursor, settings, connected.user)
    links = await _problem_of_links(cursor) if with_links else None
    if problem is not None:
        return DatabaseReport(address, problem, tuple(grants), links)
    tables = list[FoundTable]()
    with suppress(psycopg2.errors.InsufficientPrivilege):  # of the grants' schema: a mistake says so
        await cursor.execute(FoundTable.QUERY, (tables_read(settings, with_links=with_links),))
        tables = [FoundTable(*row) for row in await cursor.fetchall()]
    if "." not in table and tables and (others := tables[0].others):
        elsewhere = f"the search path leads to {tables[0].name}; there is also {', '.join(others)}"
    return DatabaseReport(address, None, (), links, tables, elsewhere, await find_mistakes(cursor, settings))


async def _problem_of_table(
    cursor: aiopg.Cursor, settings: PostgresSettings, user: str
) -> tuple[str | None, list[str]]:
    """Return the table's problem, None without a problem, and the grants that repair it."""
    schema, _, table = settings.table.rpartition(".")
    await cursor.execute(_TABLE, (table, schema or None))
    found, repairs = await cursor.fetchone(), list[str]()
    if found is None:
        return f"there is no table {settings.table} in this database", repairs
    oid, namespace, relation, is_visible, has_usage = found
    name = f"{_in_quotes(namespace)}.{_in_quotes(relation)}"
    if not has_usage:
        repairs.append(f"GRANT USAGE ON SCHEMA {_in_quotes(namespace)} TO {_in_quotes(user)}")
    await cursor.execute(_COLUMNS, (oid,))
    granted, wanted = dict(await cursor.fetchall()), set(settings.columns.names.values())
    if not all(granted[column] for column in wanted & granted.keys()):
        repairs.append(f"GRANT SELECT ON {name} TO {_in_quotes(user)}")
    if missing := sorted(wanted - granted.keys()):
        return f"the table {name} has no column {', '.join(missing)}", repairs
    if not schema and not is_visible and has_usage:
        return f"the table is in the schema {namespace}: set postgres.table to {namespace}.{relation}", repairs
    return f"{user} may not read {name}" if repairs else None, repairs


async def _problem_of_links(cursor: aiopg.Cursor) -> str | None:
    """Return why killed links are not notified. That the table is missing is not said here, but by the query."""
    await cursor.execute(triggers.QUERY, (LINKS_TABLE,))
    events = triggers.events_of([triggers.Trigger(*row) for row in await cursor.fetchall()])
    notifies = events & triggers.INSERT and events & triggers.UPDATE
    return None if notifies else f"no trigger on {LINKS_TABLE} notifies of killed links"


def report_without_connect(settings: PostgresSettings, error: str) -> DatabaseReport | None:
    """Return the report for a user who may not connect to the database, None for any other error of connecting."""
    if (refused := _NO_CONNECT.search(error)) is None:  # such an error has no SQLSTATE
        return None
    database = refused[1]
    named = parse_dsn(settings.dsn.get_secret_value())
    user = named.get("user", "the user of postgres.dsn")
    address = f"{user} at {named.get('host', 'a socket')}:{named.get('port', '5432')}, database {database}"
    repair = f"GRANT CONNECT ON DATABASE {_in_quotes(database)} TO {_in_quotes(user)}"
    return DatabaseReport(address, f"{user} may not connect to {database}", (repair,), None)


def _in_quotes(name: str) -> str:
    """Return a name as SQL, as psycopg2's ``quote_ident`` does with a connection."""
    return '"' + name.replace('"', '""') + '"'
