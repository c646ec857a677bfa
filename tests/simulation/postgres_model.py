"""A model of Postgres at the edge that is aiopg: rows, commits, notifications, locks, a standby that lags."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Self

import psycopg2
from aiopg.utils import ClosableQueue

from tests.simulation.loop import Process
from tests.simulation.network import Link, Network

CHANNEL: Final = "image_gateway"
_WATCHED: Final = ["id", "user_id", "cos_key", "cos_bucket", "cos_region", "mime_type", "is_public", "storage_status"]
_SOURCE: Final = "".join(f"OLD.{column}, " for column in _WATCHED)  # of the trigger
_OTHER_COLUMNS: Final = 11  # between those of ``CatalogQuery`` that decide here
OWNER: Final = "alice"  # of every row
_TIMELINE: Final = 1
BUCKET, REGION = "b-1250000000", "ap-beijing"


class Row(NamedTuple):
    """A version of a row. ``key`` names image and version. ``is_active``: False for a deleted or blocked image."""

    image_id: str
    version: int
    is_public: bool
    is_active: bool
    killed: int = 0

    @property
    def key(self) -> str:
        return f"{self.image_id}/{self.version}.{self.killed}"


class Notification(NamedTuple):
    """As psycopg2 has it. ``commit``: the number of the commit, 0 for others than changes of rows."""

    payload: str
    commit: int = 0


@dataclass(slots=True)
class Commit:
    """A version of a row, from when on it counts, and its position in the log."""

    row: Row
    at: float
    position: int


Reply = Callable[[Any], None]


class Postgres:
    """The primary, and the standby that reads come from where ``lag`` is not None, in seconds.

    is_up: False: every connection is refused. is_hanging: no query is answered, and nobody can connect.
    is_locked: no query of the table is answered.
    trigger: the number of the trigger that notifies of changed rows. None: there is no trigger, and what is committed
        meanwhile counts from the time when there is one again.
    loses_trigger: whether that happens in this run. In the others no gateway watches over the trigger.
    refuses_rows: clients that get no connection for rows: their role has too many.
    deaf: clients whose new sessions are deaf until they end.
    """

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.lag: float | None = None
        self.is_up = True
        self.is_hanging = False
        self.is_locked = False
        self.trigger: int | None = 1
        self.installed_at = -math.inf
        self.loses_trigger = False
        self.refuses_rows: set[str] = set()
        self.deaf: set[str] = set()
        self.connections: list[Connection] = []
        self.history: dict[str, list[Commit]] = {}
        self.commits = 0
        self._waiting: list[Callable[[], None]] = []
        self._replayed: list[tuple[float, int]] = []

    # ---- the application

    def commit(self, row: Row) -> None:
        """Write a version of a row. The trigger notifies."""
        self.commits += 1
        now = self.network.loop.time()
        counts_from = now if self.trigger is not None else math.inf
        self.history.setdefault(row.image_id, []).append(Commit(row, counts_from, self.commits))
        self._replayed.append((now, self.commits))
        if self.trigger is not None:
            self.notify(Notification(row.image_id, self.commits))

    def install_trigger(self, number: int) -> None:
        """Install a trigger by the SQL that notifies gateways of it. ``number``: no earlier trigger has it."""
        self.trigger, self.installed_at = number, self.network.loop.time()
        for commit in (commit for history in self.history.values() for commit in history):
            commit.at = min(commit.at, self.installed_at)
        self.notify(Notification("-installed"))

    def notify(self, notification: Notification, sender: "Connection | None" = None) -> None:
        """Send a notification to each connection that listens. The sender hears itself, as through a pooler."""
        for connection in self.connections:
            if connection.listens and (connection is sender or not connection.is_deaf):
                connection.to_client.send(connection.notified, notification)

    def current(self, image_id: str) -> Row:
        """Return the row as the primary has it."""
        return self.history[image_id][-1].row

    # ---- the server

    def handle(self, connection: "Connection", sql: str, parameters: Any, reply: Reply) -> None:
        """Run a statement of a connection, now or when it can be run."""
        if connection.is_dead:
            return
        if self.is_hanging or (self.is_locked and " FROM " in sql and "ANY(" in sql):
            self._waiting.append(lambda: self.handle(connection, sql, parameters, reply))
            return
        result: Any = None
        if "LISTEN " in sql:
            connection.listens = True
        elif "pg_current_wal_insert_lsn" in sql:
            result = [(f"{_TIMELINE:08X}", self.commits)]
        elif "pg_last_wal_replay_lsn" in sql:
            result = [(_TIMELINE, self._position_of(connection))] if connection.is_standby else []
        elif "pg_trigger" in sql:
            result = [(str(self.trigger), 8 | 16, _SOURCE)] if self.trigger is not None else []
        elif "pg_rewrite" in sql:
            result = [(False, [], False)]
        elif "format_type" in sql:
            result = [("text",)]
        elif sql.startswith("NOTIFY") or "pg_notify" in sql:
            payload = parameters[-1] if parameters else sql.split("'")[1]
            self.notify(Notification(payload), connection)
        elif "image_gateway_links" in sql and "INSERT" in sql:
            row = self.current(parameters[0])
            self.commit(row._replace(killed=row.killed + 1))
            result = [(row.killed + 1,)]
        elif "ANY(" in sql:
            result = self._select(parameters[0], self._position_of(connection), has_public="is_public" in sql)
        connection.to_client.send(reply, result)

    def _select(self, image_ids: Sequence[str], position: int, *, has_public: bool) -> list[tuple[Any, ...]]:
        rows = []
        for image_id in image_ids:
            row = next((c.row for c in reversed(self.history.get(image_id, ())) if c.position <= position), None)
            if row is not None and row.is_active:
                public = row.is_public if has_public else False
                rows.append((image_id, row.key, OWNER, public, *[None] * _OTHER_COLUMNS, row.killed))
        return rows

    def _position_of(self, connection: "Connection") -> int:
        if not connection.is_standby or self.lag is None:
            return self.commits
        then = self.network.loop.time() - self.lag
        return next((position for at, position in reversed(self._replayed) if at <= then), 0)

    def go_on(self) -> None:
        """Run what waits, after the end of a lock or a hang."""
        waiting, self._waiting = self._waiting, []
        for run in waiting:
            run()

    def refuse(self, client: str, seconds: float) -> None:
        """End the connections of a client, and let it make none for a while."""
        self.network.refuse((client, self.process.name), seconds)
        self.end_connections(client)

    def end_connections(self, client: str, *, for_rows: bool = False) -> None:
        """End the connections of a client with an error, or only those for rows."""
        for connection in list(self.connections):
            if connection.client_name == client and (connection.is_for_rows(client) or not for_rows):
                connection.server_closes()

    def restart(self) -> None:
        """End every connection with an error."""
        for connection in list(self.connections):
            connection.server_closes()
        self._waiting.clear()


class Connection:
    """A connection as aiopg has it: what the gateway does with it, and no more.

    is_deaf: this session gets no notifications but its own, and is answered.
    ended_at: when the client learned that it is dead.
    statement_timeout: seconds, as aiopg counts them. None: the catalog limits the time by itself.
    """

    def __init__(
        self,
        postgres: Postgres,
        client: Process,
        timeout: float,
        statement_timeout: float | None,
        *,
        is_standby: bool = False,
    ) -> None:
        network, loop = postgres.network, postgres.network.loop
        self.is_standby = is_standby
        self.client_name = client.name
        way = client.name, postgres.process.name
        self.listens = False
        self.is_deaf = client.name in postgres.deaf
        self.is_dead = False
        self.ended_at = math.inf
        self.raw = SimpleNamespace(notifies=[])
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self.notifies = ClosableQueue(self._items, loop)
        self.delivered: Callable[[Notification], None] = lambda _: None
        self.to_client = Link(network, client, way)
        self._to_server = Link(network, postgres.process, way)
        self._postgres = postgres
        self._timeout = timeout
        self._statement_timeout = statement_timeout
        self._running: asyncio.Future[Any] | None = None

    @property
    def closed(self) -> bool:
        return self.is_dead

    def is_for_rows(self, client: str) -> bool:
        """Return whether it is of the pool of this client, whose statements have no time limit of their own."""
        return self.client_name == client and self._statement_timeout is None

    async def connect(self) -> Self:
        """Connect, as ``aiopg.connect`` does."""
        postgres = self._postgres
        loop = postgres.network.loop
        accepted: asyncio.Future[Any] = loop.create_future()
        accepted.add_done_callback(_retrieve)

        def accept() -> None:
            is_refused = postgres.network.is_refused(self.to_client.way)
            is_too_many = any(map(self.is_for_rows, postgres.refuses_rows))
            if not postgres.is_up or is_refused or is_too_many:
                self.to_client.send(_fail, accepted, psycopg2.OperationalError("connection refused"))
            elif not postgres.is_hanging:
                postgres.connections.append(self)
                self.to_client.send(_answer, accepted, None)

        self._to_server.send(accept)
        try:
            await asyncio.wait_for(accepted, self._timeout)
        except BaseException:
            self.close()
            raise
        return self

    def cursor(self) -> "Cursor":
        return Cursor(self)

    async def execute(self, sql: str, parameters: Any) -> Any:
        """Run a statement. A time-out or a cancellation closes the connection, as aiopg's ``_poll`` does."""
        if self.is_dead:
            raise psycopg2.InterfaceError("connection already closed")
        running = self._running = self._postgres.network.loop.create_future()
        running.add_done_callback(_retrieve)
        self._to_server.send(self._postgres.handle, self, sql, parameters, lambda result: _answer(running, result))
        try:
            return await asyncio.wait_for(running, self._statement_timeout)
        except (asyncio.CancelledError, TimeoutError):
            self.close()
            raise
        finally:
            self._running = None

    def notified(self, notification: Notification) -> None:
        """What aiopg does when its socket is readable (``Connection._ready``). A closed one gets nothing."""
        if self.is_dead:
            return
        self.delivered(notification)
        self.raw.notifies.append(notification)
        while self.raw.notifies:
            self._items.put_nowait(self.raw.notifies.pop(0))

    def close(self) -> None:
        """Close, and tell the server."""
        if not self.is_dead:
            self.is_dead = True
            self._to_server.send(lambda: None)
            self._end("Connection closed")

    def server_closes(self) -> None:
        """End the connection from the server's side."""
        if self in self._postgres.connections:
            self._postgres.connections.remove(self)
        self.to_client.send(self._end, "terminating connection due to administrator command")

    def disappear(self) -> None:
        """Nothing passes any more, and neither side is told."""
        self.to_client.cut()
        self._to_server.cut()

    def _end(self, reason: str) -> None:
        self.is_dead = True
        self.ended_at = min(self.ended_at, self._postgres.network.loop.time())
        if self in self._postgres.connections:
            self._postgres.connections.remove(self)
        self.notifies.close(psycopg2.OperationalError(reason))
        if self._running is not None:
            _fail(self._running, psycopg2.OperationalError(reason))


class Cursor:
    """A cursor of aiopg's."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def execute(self, sql: str, parameters: Any = None) -> None:
        self._rows = await self.connection.execute(sql, parameters) or []

    async def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    async def fetchall(self) -> list[Any]:
        return self._rows


class ModelPool:
    """The pool of a process: connections that it keeps."""

    size = 10

    def __init__(self, postgres: Postgres, client: Process, timeout: float, *, is_standby: bool) -> None:
        self._make = lambda: Connection(postgres, client, timeout, None, is_standby=is_standby)
        self._free: list[Connection] = []

    @asynccontextmanager
    async def cursor(self) -> AsyncIterator["Cursor"]:
        """Yield a cursor of a connection, which is closed if its statement was abandoned."""
        connection = None
        while self._free and (connection is None or connection.is_dead):
            connection = self._free.pop()
        if connection is None or connection.is_dead:
            connection = await self._make().connect()  # type: ignore[no-untyped-call]
        yield connection.cursor()
        if not connection.is_dead:
            self._free.append(connection)

    def connections(self) -> dict[str, int]:
        """Return how many connections wait for a server: none."""
        return {"abandoned": 0}


@asynccontextmanager
async def connected(connection: Connection) -> AsyncIterator[Connection]:
    """Connect, and close the connection at the end."""
    await connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _retrieve(future: "asyncio.Future[Any]") -> None:
    """Do what keeps asyncio from telling of an error whose waiter has given up."""
    if not future.cancelled():
        future.exception()


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
