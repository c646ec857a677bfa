"""A model of Redis at the edge that is redis-py: entries with tombstones, publish and subscribe, and faults.

The scripts of ``entry_scripts`` are written in Python here. ``test_models.py`` compares them with a real Redis.
"""

import asyncio
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from gateway.redis_entries.entry_scripts import DROP_ENTRIES, KEEP_ENTRIES, EntryRow
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network
from tests.simulation.purge_model import MODEL, PurgeData

_END: Final = re.compile(rb"(\d+) ")
_DROPPED: Final = re.compile(rb"\n(-[0-9a-f]+)$")
_MISCONF: Final = "MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist to disk."

_MOST_AT_ONCE: Final = 1000  # calls
_LOST: Final = 0.2  # of the answers

Reply = Callable[[Any], None]


class Redis:
    """The server.

    now: seconds by which entries expire.
    is_up: False: connections are refused. is_hanging: nothing is answered. refuses_writes: as with a full disk.
    loses_writes: writes are answered and forgotten, as by a primary that its replicas no longer follow.
    loses_answers: some calls are run, and their answers come too late, as beside a disk that stalls.
    """

    def __init__(self, network: Network, process: Process, now: Callable[[], float]) -> None:
        self.network = network
        self.process = process
        self.now = now
        self.is_up = True
        self.is_hanging = False
        self.refuses_writes = False
        self.loses_writes = False
        self.loses_answers = False
        self.subscriptions: list[Subscription] = []
        self._values: dict[str, tuple[bytes, float]] = {}
        self._snapshot: dict[str, tuple[bytes, float]] = {}
        self.purges = self._snapshot_of_purges = PurgeData()
        self._waiting: list[Callable[[], None]] = []

    def handle(self, to_client: Link, commands: list[tuple[Any, ...]], reply: Reply) -> None:
        """Answer commands, in their order."""
        if not self.is_up or self.network.is_refused(to_client.way):
            to_client.send(reply, RedisConnectionError("Connection refused"))
        elif self.is_hanging:
            self._waiting.append(lambda: self.handle(to_client, commands, reply))
        else:
            answers = [self.run(command) for command in commands]
            if not (self.loses_answers and self.network.happens(_LOST)):
                to_client.send(reply, answers)

    def run(self, command: tuple[Any, ...]) -> Any:
        """Return the answer to a command, which may be an error."""
        name, *arguments = command
        match name:
            case "PING":
                return b"PONG"
            case "TIME":
                return [int(self.now()), int(self.now() % 1 * 1_000_000)]
            case "MGET":
                return [self.get(key) for key in arguments]
            case "PUBLISH":
                return self._publish(*arguments)
        if self.refuses_writes:
            return ResponseError(_MISCONF)
        if name == MODEL:
            return arguments[0](self.purges.copy() if self.loses_writes else self.purges)
        before = dict(self._values) if self.loses_writes else None
        result = self._write(name, arguments)
        if before is not None:
            self._values = before
        return result

    def _write(self, name: str, arguments: list[Any]) -> Any:
        if name == "UNLINK":
            return sum(self._values.pop(key, None) is not None for key in arguments)
        if name != "EVAL":
            raise LookupError(name)
        script, count, *rest = arguments
        keys, values = rest[:count], rest[count:]
        if script == KEEP_ENTRIES.lua:
            entries, (latest, _, _, *values) = keys[5:], values
            width = len(EntryRow._fields)
            rows = [EntryRow(*values[start : start + width]) for start in range(0, len(values), width)]
            for key, row in zip(entries, rows, strict=True):
                self._keep(key, row, float(latest))
            return None
        if script == DROP_ENTRIES.lua:
            tombstone, milliseconds, *_ = values
            for key in keys[4:]:
                self._values[key] = (tombstone, self.now() + milliseconds / 1000)
            return None
        raise LookupError(script)

    def _keep(self, key: str, row: EntryRow, latest: float) -> None:
        there, entry, seen = self.get(key), row.value, row.seen
        if there is not None and there != row.foreign:
            if there.startswith(b"-"):
                if there != seen:
                    return
            else:
                there_end, own_end = _END.match(there), _END.match(entry)
                dropped = _DROPPED.search(there)
                if (dropped[1] if dropped else b"") != seen:
                    return
                if there_end and own_end and int(own_end[1]) < int(there_end[1]) <= latest:
                    return
        self._values[key] = (entry + b"\n" + seen if seen else entry, self.now() + max(1, row.usable_for))

    def get(self, key: str) -> bytes | None:
        """Return the value under a key."""
        found = self._values.get(key)
        return found[0] if found is not None and found[1] > self.now() else None

    def has_url(self, image_id: str) -> bool:
        """Return whether there is an entry of the image, and no tombstone."""
        return not (self.get(f"image:url:{image_id}") or b"-").startswith(b"-")

    def _publish(self, channel: str, message: str | bytes) -> int:
        data = message if isinstance(message, bytes) else message.encode()
        receivers = [subscription for subscription in self.subscriptions if subscription.channel == channel]
        for subscription in receivers:
            if not subscription.is_deaf:
                subscription.to_client.send(subscription.receive, {"type": "message", "data": data})
        return len(receivers)

    def go_on(self) -> None:
        """Answer what waits, after the end of a hang."""
        waiting, self._waiting = self._waiting, []
        for run in waiting:
            run()

    def take_snapshot(self) -> None:
        """Save all that is there."""
        self._snapshot, self._snapshot_of_purges = dict(self._values), self.purges.copy()

    def restart(self) -> set[str]:
        """Begin again with the last snapshot. All connections end. Return the images whose purges are lost."""
        lost = self.purges.queue.keys() - self._snapshot_of_purges.queue.keys()
        self._values, self.purges = dict(self._snapshot), self._snapshot_of_purges.copy()
        self.cut_subscriptions()
        return lost

    def cut_subscriptions(self) -> None:
        """End all subscriptions with an error."""
        for subscription in list(self.subscriptions):
            subscription.server_closes()

    def refuse(self, client: str, seconds: float) -> None:
        """End the connections of a client, and let it make none for a while."""
        self.network.refuse((client, self.process.name), seconds)
        for subscription in list(self.subscriptions):
            if subscription.to_client.way[0] == client:
                subscription.server_closes()


class Client:
    """The client of a process: what ``GuardedRedis``, ``Shards`` and ``InvalidationChannel`` use of redis-py."""

    def __init__(self, redis: Redis, process: Process) -> None:
        self.redis = redis
        self.process = process

    async def execute_command(self, *command: Any) -> Any:
        [answer] = await self.send([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def publish(self, channel: str, message: str) -> int:
        return int(await self.execute_command("PUBLISH", channel, message))

    def pipeline(self, **_: Any) -> "Pipeline":
        return Pipeline(self)

    def pubsub(self) -> "Subscription":
        return Subscription(self.redis, self.process)

    async def send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return the answers to commands. Each call is on a connection of its own."""
        network = self.redis.network
        way = self.process.name, self.redis.process.name
        to_server, to_client = Link(network, self.redis.process, way), Link(network, self.process, way)
        answered: asyncio.Future[list[Any]] = network.loop.create_future()
        to_server.send(self.redis.handle, to_client, commands, lambda answers: _answer(answered, answers))
        return await answered


class Pipeline:
    """Commands that are sent together."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    async def execute(self, **_: Any) -> list[Any]:
        return await self._client.send(self._commands)


class Subscription:
    """A subscription of a process. ``is_deaf``: it is answered, and gets no messages."""

    def __init__(self, redis: Redis, process: Process) -> None:
        network = redis.network
        self.is_deaf = False
        self.channel = ""
        self.connection = SimpleNamespace(health_check_interval=0)
        way = process.name, redis.process.name
        self.to_client = Link(network, process, way)
        self._to_server = Link(network, redis.process, way)
        self._redis = redis
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._is_closed = False
        self._began = network.loop.time()
        self._is_given_up = False
        self._returned_at_once = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closed = True
        if self in self._redis.subscriptions:
            self._redis.subscriptions.remove(self)

    async def subscribe(self, channel: str) -> None:
        self.channel = channel

        def confirm() -> None:
            redis = self._redis
            if not redis.is_up or redis.network.is_refused(self.to_client.way):
                self.to_client.send(self.receive, RedisConnectionError("Connection refused"))
            elif not redis.is_hanging and not self._is_closed:
                redis.subscriptions.append(self)
                self.to_client.send(self.receive, {"type": "subscribe", "data": 1})

        self._to_server.send(confirm)

    async def ping(self) -> None:
        def pong() -> None:
            if not self._redis.is_hanging and self in self._redis.subscriptions:
                self.to_client.send(self.receive, {"type": "pong", "data": b""})

        self._to_server.send(pong)

    async def get_message(self, *, timeout: float | None = None, **_: Any) -> Any:
        """Return the next message, or None after ``timeout`` seconds.

        None at once, too, when the kernel has given the connection up: that is a time-out for redis-py.
        """
        network, way = self._redis.network, self.to_client.way
        self._is_given_up = self._is_given_up or network.is_given_up(way, self._began)
        if self._is_given_up:
            self._returned_at_once += 1
            if self._returned_at_once > _MOST_AT_ONCE:
                network.loop.errors.append({"message": f"{way[0]} asks a dead connection again and again"})
                raise asyncio.CancelledError
            return None
        try:
            async with asyncio.timeout(timeout):
                message = await self._messages.get()
        except TimeoutError:
            return None
        if isinstance(message, Exception):
            raise message
        return message

    def receive(self, message: Any) -> None:
        """Get a message or an error from the server."""
        self._messages.put_nowait(message)

    def server_closes(self) -> None:
        """End the subscription from the server's side."""
        self._redis.subscriptions.remove(self)
        self.to_client.send(self.receive, RedisConnectionError("Connection closed by server."))

    def disappear(self) -> None:
        """Nothing passes any more, and neither side is told."""
        self.to_client.cut()
        self._to_server.cut()


def _answer(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # retrieved: whoever waited for it may have given up
    else:
        future.set_result(result)
