"""Connections to the application's Postgres."""

import asyncio
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiopg
import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from gateway.catalog.server_addresses import Server, ServerAddresses, ServerFull
from gateway.concurrency.time_limits import loop_timeout

# Of each connection: no queries for types that are not used. psycopg2 uses the server's encoding by default; in a
# database of SQL_ASCII it then decodes ASCII only.
_OPTIONS: Final = {"enable_hstore": False, "enable_json": False, "enable_uuid": False, "client_encoding": "UTF8"}
# A connection is abandoned without a time limit: only the kernel can tell that the server's machine has gone. Seconds,
# and of the last one milliseconds; a DSN may say otherwise.
_KEEPALIVES: Final = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 15_000}
_NEVER: Final = 1e8  # seconds; aiopg's own limit must not close a connection whose query the server may still execute
_CANCEL_INTERVAL: Final = 0.02  # seconds; Python before 3.12 may lose a cancellation, as ``background`` says
_UNCONNECTED: Final = (2, 3)  # libpq's CONNECTION_STARTED and CONNECTION_MADE: the server has received nothing


class _Connection(psycopg2.extensions.connection):
    """A connection of psycopg2 that turns ``QueryCanceledError``, which aiopg would log, into ``CancelledError``."""

    def poll(self) -> int:
        try:
            return super().poll()
        except psycopg2.extensions.QueryCanceledError as error:
            raise psycopg2.OperationalError(str(error)) from None  # with the reason


class Connection(aiopg.Connection):
    """A connection to Postgres whose socket the event loop forgets when libpq has closed it, and only once.

    aiopg asks the kernel whether the number of the socket is still open. Another thread may have opened a file by then,
    which has the number: the event loop would go on with it, and the next connection of that number fail or hang.
    """

    def _close(self) -> None:
        super()._close()
        self._fileno = None

    @staticmethod
    def _ready(weak_self: "weakref.ref[Any]") -> None:
        try:
            aiopg.Connection._ready(weak_self)  # noqa: SLF001 - its own class
        finally:
            self = weak_self()
            if self is not None and self._fileno is not None and (self.closed or self.raw.fileno() < 0):
                self._loop.remove_reader(self._fileno)
                self._fileno = None


class Cursor(aiopg.Cursor):
    """A cursor whose statement goes on when the caller stops waiting for it.

    Neither Postgres nor PgBouncer notices that a client left while its query waits, so closing the connection would
    free nothing: a new connection for the next query would be one more at the server.

    limit: SQL before each query that limits its time.
    """

    limit = ""
    statement: "asyncio.Task[None] | None" = None

    async def execute(self, operation: str, parameters: Any = None, *, timeout: float | None = None) -> None:
        """Execute a statement. If the caller is cancelled, ``statement`` is not done."""
        self.statement = asyncio.create_task(self._execute(operation, parameters, timeout), name="postgres")
        await asyncio.shield(self.statement)

    async def _execute(self, operation: str, parameters: Any, timeout: float | None) -> None:
        await super().execute(operation, parameters, timeout=timeout)


class Pool:
    """A pool of connections to Postgres: at most ``size`` to each server. ``addresses`` chooses the server.

    A connection counts until its end is known. If no caller waits for it any more (it is *abandoned*), it still counts
    until the server has answered; then it is used again.

    Connections to each address are counted separately: while one server hangs, another one can take its place.
    """

    def __init__(self, addresses: ServerAddresses, size: int) -> None:
        self._addresses = addresses
        self.size = size
        given = parse_dsn(addresses.dsn)
        self._parameters = {name: value for name, value in _KEEPALIVES.items() if name not in given}
        self._servers: dict[aiopg.Connection, Server] = {}  # of each connection, also of one that is being opened
        self._idle: deque[aiopg.Connection] = deque()
        self._waiters: dict[asyncio.Future[aiopg.Connection], float] = {}  # since when, the first is the oldest
        self._abandoned: dict[asyncio.Task[Any], tuple[Server, float]] = {}  # since when, the first is the oldest
        self._opening: asyncio.Task[None] | None = None

    def connections(self) -> Mapping[str, int]:
        """Return the number of connections in each state: ``in_use``, ``idle`` or ``abandoned``."""
        idle, abandoned = len(self._idle), len(self._abandoned)
        return {"in_use": len(self._servers) - idle - abandoned, "idle": idle, "abandoned": abandoned}

    def waits(self) -> list[float]:
        """Return the seconds for which callers have been waiting for a connection, the longest first."""
        now = time.monotonic()
        return [now - since for since in self._waiters.values()]

    @asynccontextmanager
    async def cursor(self) -> AsyncIterator[Cursor]:
        """Yield a cursor of a connection. Waits without a limit while all are in use.

        Raises ``psycopg2.Error`` or ``OSError`` if no server accepts a connection.
        """
        connection = await self._acquire()
        try:
            cursor = Cursor(connection, connection.raw.cursor(), _NEVER, echo=False)
        except BaseException:
            self._release(connection)
            raise
        try:
            yield cursor
        finally:
            statement = cursor.statement
            if statement is None or statement.done():
                cursor.close()
                self._release(connection)
            else:
                self._abandon(statement, connection)

    async def close(self) -> None:
        """Close every connection. A server may still execute what was abandoned."""
        while tasks := [*self._abandoned, *([self._opening] if self._opening is not None else [])]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_CANCEL_INTERVAL)
        for connection in self._servers:
            connection.close()

    async def _acquire(self) -> aiopg.Connection:
        while self._idle:
            connection = self._idle.popleft()
            if not connection.closed:
                return connection
            del self._servers[connection]
        waiter: asyncio.Future[aiopg.Connection] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = time.monotonic()
        self._open_more()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise
        finally:
            self._waiters.pop(waiter, None)

    def _release(self, connection: aiopg.Connection) -> None:
        """Give the connection to the oldest waiter, or keep it."""
        if not connection.closed and connection.raw.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            connection.close()
        if connection.closed:
            del self._servers[connection]
            self._open_more()
        elif (waiter := self._oldest_waiter()) is not None:
            waiter.set_result(connection)
        else:
            self._idle.append(connection)

    def _oldest_waiter(self) -> "asyncio.Future[aiopg.Connection] | None":
        """Remove and return the oldest caller that waits."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                return waiter
        return None

    def _is_full(self, server: Server) -> bool:
        return sum(its_server == server for its_server in self._servers.values()) >= self.size

    def _abandon(self, work: "asyncio.Task[Any]", connection: aiopg.Connection) -> None:
        """Keep the connection until ``work`` on it is done: until then the server may work for it, too."""

        def ended(_: "asyncio.Task[Any]") -> None:
            del self._abandoned[work]
            if not work.cancelled():
                work.exception()  # otherwise asyncio warns that it was never retrieved
            self._release(connection)

        self._abandoned[work] = self._servers[connection], time.monotonic()
        work.add_done_callback(ended)

    def _open_more(self) -> None:
        """Open a connection, if a caller waits for it and there may be another one. One is opened after the other."""
        if self._opening is not None or not self._waiters:
            return
        if self._hangs(self._addresses.next):
            self._addresses.skip()
        if not self._is_full(self._addresses.next):
            self._opening = asyncio.create_task(self._open(), name="postgres-connection")

    def _hangs(self, server: Server) -> bool:
        """Return whether every connection has been abandoned for so long that the server should have answered."""
        latest = time.monotonic() - self._addresses.timeout
        hanging = sum(since < latest for its_server, since in self._abandoned.values() if its_server == server)
        return hanging >= self.size

    async def _open(self) -> None:
        """Open a connection to one of the servers, and give it to a waiter, or the error of the last server."""
        try:
            self._release(await self._addresses.connect(self._connect))
        except Exception as error:  # noqa: BLE001 - a caller waits for any error
            if (waiter := self._oldest_waiter()) is not None:
                waiter.set_exception(error)
        finally:
            self._opening = None
        self._open_more()

    async def _connect(self) -> aiopg.Connection:
        server = self._addresses.next
        if self._is_full(server):
            raise ServerFull(f"no answer from {server}")
        connection = _begin_to_connect(self._addresses, _NEVER, "image-gateway", self._parameters)
        self._servers[connection] = server
        login = asyncio.ensure_future(connection)
        try:
            async with loop_timeout(self._addresses.timeout):
                return await asyncio.shield(login)
        except BaseException:
            # The queue of PgBouncer keeps the login of a client that left, too.
            if connection.raw.info.status in _UNCONNECTED:
                login.cancel()
            self._abandon(login, connection)
            raise


@asynccontextmanager
async def open_pool(addresses: ServerAddresses, size: int, pools: "list[Pool]") -> AsyncIterator[Pool]:
    """Open a pool that connects when a connection is first needed. ``pools`` has it while it is open."""
    pool = Pool(addresses, size)
    pools.append(pool)
    try:
        yield pool
    finally:
        pools.remove(pool)
        await pool.close()
        await addresses.aclose()


@asynccontextmanager
async def open_connection(addresses: ServerAddresses, application_name: str) -> AsyncIterator[aiopg.Connection]:
    """Connect to a server of the DSN, within the time limit of ``addresses`` for each server.

    Raises ``psycopg2.Error``, ``OSError`` or ``TimeoutError`` if no server accepts a connection.
    """

    async with await addresses.connect(
        lambda: _begin_to_connect(addresses, addresses.timeout, application_name, {})
    ) as connection:
        yield connection


def _begin_to_connect(
    addresses: ServerAddresses, timeout: float, application_name: str, parameters: Mapping[str, Any]
) -> aiopg.Connection:
    """Return a connection that is not connected yet. ``timeout`` is of the login and of each statement, in seconds."""
    options = {"application_name": application_name, **_OPTIONS, **parameters, **addresses.parameters}
    return Connection(addresses.dsn, timeout, connection_factory=_Connection, **options)
