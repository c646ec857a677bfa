"""Connections to the application's Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import aiopg
import psycopg2

from gateway.catalog.server_addresses import AddressesNeeded, Resolve, ServerAddresses, system_addresses
from gateway.settings import PostgresSettings

# Of each connection: no queries for types that are not used. psycopg2 uses the server's encoding by default; in a
# database of SQL_ASCII it then decodes ASCII only.
_OPTIONS: Final[Mapping[str, Any]] = {
    "enable_hstore": False,
    "enable_json": False,
    "enable_uuid": False,
    "client_encoding": "UTF8",
}
# aiopg's own limit also counts the delay of a busy event loop; the limit of the catalog ends earlier.
_LATE: Final = 20


class Pool:
    """Connections to a server of the DSN that accepts them."""

    def __init__(self, pool: aiopg.Pool, addresses: ServerAddresses) -> None:
        self._pool = pool
        self._addresses = addresses

    async def acquire(self) -> aiopg.Connection:
        """Return a connection, to be given to ``release``. Waits without a limit while all are in use.

        Raises ``psycopg2.Error`` or ``OSError`` if no server accepts a connection.
        """
        return await _connected(self._addresses, self._pool.acquire)

    def release(self, connection: aiopg.Connection) -> None:
        """Take a connection back."""
        self._pool.release(connection)


@asynccontextmanager
async def open_pool(dsn: str, settings: PostgresSettings, resolve: Resolve = system_addresses) -> AsyncIterator[Pool]:
    """Open a pool that connects when a connection is first needed."""
    async with (
        ServerAddresses(dsn, settings.timeout, resolve) as addresses,
        aiopg.create_pool(
            dsn,
            minsize=0,
            maxsize=settings.pool_size,
            timeout=settings.timeout * _LATE,
            application_name="image-gateway",
            connection_factory=addresses.connect,
            **_OPTIONS,
        ) as pool,
    ):
        yield Pool(pool, addresses)


@asynccontextmanager
async def open_connection(
    dsn: str, timeout: float, application_name: str, addresses: ServerAddresses
) -> AsyncIterator[aiopg.Connection]:
    """Connect to a server of the DSN, within ``timeout`` seconds for each server.

    Raises ``psycopg2.Error``, ``OSError`` or ``TimeoutError`` if no server accepts a connection.
    """
    connect = partial(
        aiopg.connect,
        dsn,
        timeout=timeout,
        application_name=application_name,
        connection_factory=addresses.connect,
        **_OPTIONS,
    )
    async with await _connected(addresses, connect) as connection:
        yield connection


async def _connected(
    addresses: ServerAddresses, connect: Callable[[], Awaitable[aiopg.Connection]]
) -> aiopg.Connection:
    """Return what ``connect`` opens, which is called once for each server until a server accepts the connection."""
    tries = 0
    while True:
        try:
            return await connect()
        except AddressesNeeded:
            await addresses.look_up()
        except (psycopg2.OperationalError, OSError):  # a time-out is an OSError, too
            addresses.failed()
            tries += 1
            if tries >= len(addresses.servers):
                raise
        except asyncio.CancelledError:  # the caller's time is over
            addresses.failed()
            raise
