"""The invalidation channel: subscription, gaps, dead connections and unexpected errors."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import redis
from pydantic import SecretStr

from gateway.concurrency.background import background
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.shards import Shards
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings
from tests.heard_changes import Recorder
from tests.limits import LIMIT
from tests.waiting import until

Received = asyncio.Queue[str | None]


@contextlib.asynccontextmanager
async def connected(url: str, timeout: float = 10) -> AsyncIterator[Shards]:
    """Connect to Redis at ``url``."""
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=timeout)) as shards:
        yield shards


@contextlib.asynccontextmanager
async def listening(
    shards: Shards, recorder: Recorder | None = None, channel: InvalidationChannel | None = None
) -> AsyncIterator[Received]:
    """Yield the queue of received image ids; None is a gap."""
    recorder, channel = recorder or Recorder(), channel or InvalidationChannel(shards)
    async with background("invalidation-channel", channel.listen(recorder, recorder.use_new_url)):
        yield recorder.told


async def next_of(received: Received) -> str | None:
    async with asyncio.timeout(LIMIT):
        return await received.get()


async def publish(url: str, *image_ids: str) -> None:
    async with connected(url) as shards:
        await InvalidationChannel(shards).publish(image_ids)


async def test_listening_starts_when_redis_confirms_the_subscription(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    """Messages published after the confirmation arrive; sending the command is not enough."""
    pause = 0.3
    async with connected(redis_url) as shards:
        await shards.servers.all[0].ping()  # connected, so that nothing but the subscription has to wait
        paused_at = time.monotonic()
        redis_client.client_pause(int(pause * 1000))
        async with listening(shards) as received:
            assert await next_of(received) is None
            assert time.monotonic() - paused_at >= pause


async def test_a_closed_connection_is_reported_as_a_gap(redis_url: str, redis_client: "redis.Redis") -> None:
    """The client library subscribes again automatically, but messages published meanwhile are lost."""
    async with connected(redis_url) as shards, listening(shards) as received:
        assert await next_of(received) is None
        assert redis_client.client_kill_filter(_type="pubsub") == 1
        assert await next_of(received) is None
        await publish(redis_url, "a", "b")
        assert [await next_of(received), await next_of(received)] == ["a", "b"]


async def test_an_image_with_a_new_url_is_told_apart_from_one_that_changed(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    del redis_client
    async with connected(redis_url) as shards, connected(redis_url) as other:
        own, speaker = InvalidationChannel(shards), InvalidationChannel(other)
        async with listening(shards, channel=own) as received:
            assert await next_of(received) is None
            await own.publish(["own"], only_urls=True)
            await speaker.publish(["a"], only_urls=True)
            await speaker.publish(["a"])
            assert [await next_of(received), await next_of(received)] == ["url a", "a"]


async def test_heartbeats_of_other_replicas_and_of_no_replica_are_no_changes(
    redis_url: str, redis_client: "redis.Redis"
) -> None:
    """An earlier release takes the same message for one that names no image."""
    recorder = Recorder(every=60)
    async with connected(redis_url) as shards, listening(shards, recorder) as received:
        assert await next_of(received) is None
        await until(lambda: recorder.beats == 1)
        for message in ("other:heartbeat:recorder-1", "other:heartbeat:", ":heartbeat:x", "other:later:kind"):
            redis_client.publish("image:changes", message)
        await publish(redis_url, "a")
        assert await next_of(received) == "a"
        assert (recorder.beats, recorder.starts) == (1, 1)


@dataclass
class Line:
    """A relay to Redis that can drop all bytes without closing the connection."""

    url: str
    connections: int = 0
    dead: int = 0  # the first so many connections

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str) -> None:
        self.connections += 1
        number = self.connections
        address = urlsplit(target)
        inner_reader, inner_writer = await asyncio.open_connection(address.hostname, address.port)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if number > self.dead:
                        sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))


@pytest.fixture
async def line(redis_url: str, redis_client: "redis.Redis") -> AsyncIterator[Line]:
    del redis_client
    address = urlsplit(redis_url)
    found = Line("")
    server = await asyncio.start_server(lambda reader, writer: found.relay(reader, writer, redis_url), "127.0.0.1", 0)
    found.url = address._replace(
        netloc=address.netloc.replace(f":{address.port}", f":{server.sockets[0].getsockname()[1]}")
    ).geturl()
    async with server:
        yield found


async def test_a_silently_dead_connection_is_detected(line: Line, redis_url: str) -> None:
    recorder = Recorder(every=0.2, lease=0.5)
    async with connected(line.url, timeout=1) as shards, listening(shards, recorder) as received:
        assert await next_of(received) is None
        await publish(redis_url, "a")
        assert await next_of(received) == "a"
        line.dead = line.connections
        await publish(redis_url, "lost")
        assert await next_of(received) is None
        await publish(redis_url, "b")
        assert await next_of(received) == "b"


async def test_a_quiet_connection_is_kept(line: Line, redis_url: str) -> None:
    """Silence alone is not a gap: heartbeats come back."""
    recorder = Recorder(every=0.2, lease=60)
    async with connected(line.url) as shards, listening(shards, recorder) as received:
        assert await next_of(received) is None
        await until(lambda: recorder.beats >= 3)
        await publish(redis_url, "a")
        assert await next_of(received) == "a"
        assert recorder.starts == 1


async def test_an_unexpected_error_does_not_end_the_listening(
    redis_url: str, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    errors = [LookupError("error injected by the test")]

    class Failing(Recorder):
        """Fails once."""

        def image_changed(self, image_id: str, now: float) -> None:
            """Raise the error, later record the id."""
            if errors:
                raise errors.pop()
            super().image_changed(image_id, now)

    async with connected(redis_url) as shards, listening(shards, Failing()) as received:
        assert await next_of(received) is None
        await publish(redis_url, "fails")
        assert await next_of(received) is None
        await publish(redis_url, "a")
        assert await next_of(received) == "a"
    assert "error injected by the test" in caplog.text
