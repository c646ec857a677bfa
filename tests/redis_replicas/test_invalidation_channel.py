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
from gateway.concurrency.clocks import boot_time
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.shards import Shards
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings
from tests.heard_changes import Recorder
from tests.limits import LIMIT
from tests.valve import Valve
from tests.waiting import until

Received = asyncio.Queue[str | None]


@contextlib.asynccontextmanager
async def connected(url: str, timeout: float = 10) -> AsyncIterator[Shards]:
    """Connect to Redis at ``url``."""
    async with open_redis(RedisSettings(url=SecretStr(url), timeout=timeout), try_every=0.1) as shards:
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
    recorder = Recorder(every=60, lease=LIMIT)
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
    """A way to Redis: ``url`` leads through the valve."""

    valve: Valve
    url: str


@pytest.fixture
async def line(redis_url: str, redis_client: "redis.Redis") -> AsyncIterator[Line]:
    del redis_client
    port = urlsplit(redis_url).port or 0
    async with Valve.before(port) as valve:
        yield Line(valve, redis_url.replace(f":{port}", f":{valve.port}"))


async def test_a_silently_dead_connection_is_detected(line: Line, redis_url: str) -> None:
    recorder = Recorder(every=0.2, lease=5)
    async with connected(line.url, timeout=1) as shards, listening(shards, recorder) as received:
        assert await next_of(received) is None
        await publish(redis_url, "a")
        assert await next_of(received) == "a"
        line.valve.lose_packets(of_new_connections=False)
        await publish(redis_url, "lost")
        assert await next_of(received) is None
        await publish(redis_url, "b")
        assert await next_of(received) == "b"


class Clock:
    """``boot_time``, which fails when it is read ten thousand times before the event loop has run again."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._readings = 0

    def __call__(self) -> float:
        if not self._readings:
            asyncio.get_running_loop().call_soon(self._restart)
        self._readings += 1
        assert self._readings < 10_000, "the loop over messages does not let the event loop run"
        return boot_time() + self.ahead

    def _restart(self) -> None:
        self._readings = 0


async def test_a_connection_that_the_kernel_gives_up_is_left_while_redis_is_not_asked(
    line: Line, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """redis-py returns nothing at once for ETIMEDOUT. No heartbeat is missed: none could be sent."""
    recorder = Recorder(every=0.1, lease=LIMIT)
    async with connected(line.url, timeout=0.2) as shards:
        channel = InvalidationChannel(shards, steady=Clock())
        async with listening(shards, recorder, channel) as received:
            assert await next_of(received) is None
            line.valve.time_out()
            await until(lambda: shards.servers.all[0].is_away)
            await until(lambda: recorder.ends, what="the end of the connection")
            line.valve.open()
            assert await next_of(received) is None
            await publish(redis_url, "a")
            assert await next_of(received) == "a"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_connection_on_which_nothing_is_heard_for_15_seconds_is_left_while_redis_is_not_asked(
    line: Line, redis_url: str
) -> None:
    recorder, clock = Recorder(every=0.1, lease=LIMIT), Clock()
    async with connected(line.url, timeout=0.2) as shards:
        async with listening(shards, recorder, InvalidationChannel(shards, steady=clock)) as received:
            assert await next_of(received) is None
            line.valve.close()
            await until(lambda: shards.servers.all[0].is_away)
            clock.ahead = 15.0
            await until(lambda: recorder.ends, what="the end of the connection")
            line.valve.open()
            assert await next_of(received) is None
            await publish(redis_url, "a")
            assert await next_of(received) == "a"


@pytest.mark.parametrize(("query", "every"), [("", 0.2), ("?health_check_interval=1", 1.2)])
async def test_a_quiet_connection_is_kept(line: Line, redis_url: str, query: str, every: float) -> None:
    """Silence alone is not a gap: heartbeats come back. The answer to a health check of redis-py is no message."""
    recorder = Recorder(every=every, lease=60)
    async with connected(line.url + query) as shards, listening(shards, recorder) as received:
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
