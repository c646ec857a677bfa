"""Settings that do not fit the application's tables: Postgres refuses them without naming the setting, or is slow."""

from typing import Final, NamedTuple

import aiopg
import psycopg2

from gateway.catalog.query import crowded_image, quoted_table, select_grants, select_public
from gateway.catalog.record import MOST_GRANTS
from gateway.settings import PostgresSettings

_PUBLIC_VALUES: Final = "list the values that mean public in postgres.public_values"
_READ_GRANTS: Final = "check the names in postgres.grants, and grant SELECT on its table to the gateway's user"
_ID_TYPES: Final = (
    "give the column of postgres.grants.image the type of postgres.columns.id, or name a view that casts it"
)
_SET_ZONE: Final = (
    "run as the gateway's user, with the zone of the application: ALTER ROLE CURRENT_USER SET timezone = 'UTC'; "
    "then restart the gateways, whose connections keep the zone"
)
_NO_TEXT: Final = (
    "name a column of text in postgres.columns.alias, or a view that casts it, with an index of what is cast"
)
_WAIT: Final = "SET LOCAL lock_timeout = 100; "  # milliseconds
# It finds no row for a view, whose tables may have the index.
_HAS_INDEX: Final = """
SELECT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = c.oid AND i.indisvalid AND a.attname = given.indexed
    AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) IN (
        format('(%%I IS NOT NULL)', given.indexed), format('(%%I IS NULL)', given.deleted_at),
        format('((%%I IS NOT NULL) AND (%%I IS NULL))', given.indexed, given.deleted_at),
        format('((%%I IS NULL) AND (%%I IS NOT NULL))', given.deleted_at, given.indexed)))
) FROM pg_class c, (SELECT %s AS indexed, %s AS deleted_at) given
WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
"""
# Of another type: a look-up casts the column to text, and no index of the column itself is used.
_CAST_TYPE: Final = """
SELECT format_type(t.oid, NULL) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass(%s) AND a.attname = %s
AND COALESCE(NULLIF(t.typbasetype, 0), t.oid) NOT IN ('text'::regtype, 'varchar'::regtype, 'name'::regtype)
"""
# A zone that somebody has set for the gateway's user or its connection is meant so.
_ZONE_OF_SERVER: Final = """
SELECT current_setting('TimeZone') FROM pg_attribute a, pg_settings s
WHERE a.attrelid = to_regclass(%s) AND a.attname = %s AND a.atttypid = 'timestamp'::regtype
AND s.name = 'TimeZone' AND s.source NOT IN ('user', 'database user', 'client', 'session') AND s.setting !~ '(UTC|GMT)$'
"""


class Mistake(NamedTuple):
    """A setting that does not fit the tables, and what to do. ``breaks_query``: no image can be served with it."""

    problem: str
    remedy: str
    breaks_query: bool = False


async def find_mistakes(cursor: aiopg.Cursor, settings: PostgresSettings) -> list[Mistake]:
    """Return the mistakes in the settings of a table that exists and has the configured columns."""
    table, grants, found = quoted_table(settings.table), settings.grants, list[Mistake]()
    try:
        await cursor.execute(f"{_WAIT}SELECT {select_public(settings)} FROM {table} LIMIT 0")  # noqa: S608 - checked names
    except psycopg2.errors.DatatypeMismatch:
        problem = f"postgres.columns.public: the column {settings.columns.public} is not boolean"
        found.append(Mistake(problem, _PUBLIC_VALUES, breaks_query=True))
    except (psycopg2.ProgrammingError, psycopg2.errors.LockNotAvailable):  # what the query of requests says
        return found
    found += await _mistakes_of_alias(cursor, settings)
    if grants is None:
        return found
    try:
        await cursor.execute(f"{_WAIT}SELECT {select_grants(settings)} FROM {table} LIMIT 0")  # noqa: S608 - checked names
    except psycopg2.errors.LockNotAvailable:
        return found
    except psycopg2.ProgrammingError as error:
        reason, *_ = str(error).splitlines()
        remedy = _ID_TYPES if isinstance(error, psycopg2.errors.UndefinedFunction) else _READ_GRANTS
        found.append(Mistake(f"postgres.grants: {reason}", remedy, breaks_query=True))
        return found
    of_grants = quoted_table(grants.table)
    if grants.until is not None:
        await cursor.execute(_ZONE_OF_SERVER, (of_grants, grants.until))
        if (zone := await cursor.fetchone()) is not None:
            problem = f"postgres.grants.until: {grants.until} has no time zone, and counts as {zone[0]}"
            found.append(Mistake(problem, _SET_ZONE))
    await cursor.execute(_HAS_INDEX, (grants.image, "", of_grants))
    if await cursor.fetchone() == (False,):
        problem = (
            f"postgres.grants: no index of {grants.table} begins with {grants.image}: each look-up reads all grants"
        )
        found.append(Mistake(problem, f'run: CREATE INDEX CONCURRENTLY ON {of_grants} ("{grants.image}")'))
    await cursor.execute(crowded_image(grants))
    if (row := await cursor.fetchone()) is not None:
        problem = f"the image {row[0]} has more than {MOST_GRANTS} grants, and is for its owner alone"
        found.append(Mistake(problem, "grant such images to a group, or make them public (postgres.grants)"))
    return found


async def _mistakes_of_alias(cursor: aiopg.Cursor, settings: PostgresSettings) -> list[Mistake]:
    """Return why look-ups by alias (``/a/…``) fail, or read the whole table."""
    alias, table = settings.columns.alias, quoted_table(settings.table)
    if alias is None:
        return []
    try:
        await cursor.execute(f"{_WAIT}SELECT FROM {table} WHERE \"{alias}\" = ANY('{{}}'::text[]) LIMIT 0")
    except psycopg2.errors.UndefinedFunction:
        return [Mistake(f"postgres.columns.alias: the column {alias} is no text, and each /a/ address fails", _NO_TEXT)]
    except (psycopg2.ProgrammingError, psycopg2.errors.LockNotAvailable):
        return []
    await cursor.execute(_CAST_TYPE, (table, alias))
    if (kind := await cursor.fetchone()) is not None:
        problem = f"postgres.columns.alias: the column {alias} is {kind[0]}, and each look-up reads the table"
        return [Mistake(problem, _NO_TEXT)]
    await cursor.execute(_HAS_INDEX, (alias, settings.columns.deleted_at or "", table))
    if await cursor.fetchone() != (False,):
        return []
    problem = f"postgres.columns.alias: no index of {settings.table} begins with {alias}: each look-up reads the table"
    return [Mistake(problem, f'run: CREATE INDEX CONCURRENTLY ON {table} ("{alias}")')]
