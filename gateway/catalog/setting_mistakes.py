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
_WAIT: Final = "SET LOCAL lock_timeout = 100; "  # milliseconds
# It finds no row for a view, whose tables may have the index.
_HAS_INDEX: Final = """
SELECT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = %s
) FROM pg_class c WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p')
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
    await cursor.execute(_HAS_INDEX, (grants.image, of_grants))
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
