"""The connection pool to the application's Postgres."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiopg

from gateway.catalog.server_addresses import Resolve, ServerAddresses, system_addresses
from gateway.settings import PostgresSettings

# Of each connection: no queries for types that are not used. psycopg2 uses the server's encoding by default; in a
# database of SQL_ASCII it then decodes ASCII only.
CONNECTION_OPTIONS: Final[Mapping[str, Any]] = {
    "enable_hstore": False,
    "enable_json": False,
    "enable_uuid": False,
    "client_encoding": "UTF8",
}
# aiopg's own limit also counts the delay of a busy event loop; the limit of the catalog ends earlier.
_LATE: Final = 20


@asynccontextmanager
async def open_pool(settings: PostgresSettings, resolve: Resolve = system_addresses) -> AsyncIterator[aiopg.Pool]:
    """Open a pool that connects when a connection is first needed.

    Acquiring raises ``AddressesNeeded`` if a connection must be opened and its host was not looked up lately.
    """
    # The server would continue a query that the gateway abandoned: with this it stops the query one second later.
    statement_timeout = f"SET statement_timeout = {int((settings.timeout + 1) * 1000)}"

    async def limit_statements(connection: aiopg.Connection) -> None:
        async with connection.cursor() as cursor:
            await cursor.execute(statement_timeout)

    dsn = settings.dsn.get_secret_value()
    async with (
        ServerAddresses(dsn, settings.timeout, resolve) as addresses,
        aiopg.create_pool(
            dsn,
            minsize=0,
            maxsize=settings.pool_size,
            timeout=settings.timeout * _LATE,
            application_name="image-gateway",
            connection_factory=addresses.connect,
            on_connect=limit_statements,
            **CONNECTION_OPTIONS,
        ) as pool,
    ):
        yield pool
