"""The ear of a replica: what it says of itself is true, and it does not go deaf without noticing."""

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
from gateway.redis_store.client import open_redis
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.invalidation_channel import InvalidationChannel
from gateway.settings import RedisSettings

TIME_LIMIT = 5.0

Heard = asyncio.Queue[str | None]


@contextlib.asynccontextmanager
async def reached(url: str) -> AsyncIterator[GuardedRedis]:
    """Redis at that URL."""
    async with open_redis(RedisSettings(url=SecretStr(url))) as client:
        yield GuardedRedis(client, "image:", 1.0)


@contextlib.asynccontextmanager
async def listening(guard: GuardedRedis, *, ping_every: float = 5.0) -> AsyncIterator[Heard]:
    """What a replica hears."""
    heard: Heard = asyncio.Queue()
    task = asyncio.create_task(InvalidationChannel(guard, ping_every=ping_every).listen(heard.put_nowait))
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def next_of(heard: Heard) -> str | None:
    async with asyncio.timeout(TIME_LIMIT):
        return await heard.get()


async def tell(url: str, *image_ids: str) -> None:
    async with reached(url) as guard:
        await InvalidationChannel(guard).publish(image_ids)


async def test_listening_has_begun_when_redis_says_so(redis_url: str, redis_client: "redis.Redis") -> None:
    """What is told after that is heard; to have asked for it is not enough."""
    pause = 0.3
    async with reached(redis_url) as guard:
        await guard.ping()  # connected, so that nothing but the subscription has to wait
        redis_client.client_pause(int(pause * 1000))
        paused_at = time.monotonic()
        async with listening(guard) as heard:
            assert await next_of(heard) is None
            assert time.monotonic() - paused_at >= pause


async def test_a_connection_that_was_closed_is_a_gap(redis_url: str, redis_client: "redis.Redis") -> None:
    """The client library connects and subscribes again by itself: what was said meanwhile is lost all the same."""
    async with reached(redis_url) as guard, listening(guard) as heard:
        assert await next_of(heard) is None
        assert redis_client.client_kill_filter(_type="pubsub") == 1
        assert await next_of(heard) is None
        await tell(redis_url, "a", "b")
        assert [await next_of(heard), await next_of(heard)] == ["a", "b"]


@dataclass
class Line:
    """A way to Redis that can go dead: what is sent is taken, nothing arrives, and nobody is told."""

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


async def test_a_connection_that_died_without_a_word_is_noticed(line: Line, redis_url: str) -> None:
    async with reached(line.url) as guard, listening(guard, ping_every=0.1) as heard:
        assert await next_of(heard) is None
        await tell(redis_url, "a")
        assert await next_of(heard) == "a"
        line.dead = line.connections
        await tell(redis_url, "lost")
        assert await next_of(heard) is None
        await tell(redis_url, "b")
        assert await next_of(heard) == "b"


async def test_a_quiet_connection_is_kept(line: Line, redis_url: str) -> None:
    """Silence alone is no gap: Redis is asked, and answers."""
    async with reached(line.url) as guard, listening(guard, ping_every=0.05) as heard:
        assert await next_of(heard) is None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await heard.get()
        await tell(redis_url, "a")
        assert await next_of(heard) == "a"
        assert line.connections == 1


async def test_an_error_that_nobody_foresaw_does_not_end_the_listening(
    redis_url: str, redis_client: "redis.Redis", caplog: pytest.LogCaptureFixture
) -> None:
    heard: Heard = asyncio.Queue()
    errors = [LookupError("nobody foresaw this")]

    def hear(image_id: str | None) -> None:
        if errors:
            raise errors.pop()
        heard.put_nowait(image_id)

    async with reached(redis_url) as guard, background("invalidation-channel", InvalidationChannel(guard).listen(hear)):
        assert await next_of(heard) is None
        await tell(redis_url, "a")
        assert await next_of(heard) == "a"
    assert "nobody foresaw this" in caplog.text
