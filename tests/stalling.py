"""A Redis whose answers get lost on their way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from pydantic import SecretStr

from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_connection.shards import Shards
from gateway.settings import RedisSettings
from gateway_dev.redis_server import RedisServer
from tests.limits import LIMIT
from tests.valve import Valve


@dataclass
class Stalling:
    """A separate Redis, and shards that reach it through a valve and wait for a tenth of a second."""

    server: RedisServer
    valve: Valve
    shards: Shards

    @classmethod
    @contextlib.asynccontextmanager
    async def in_folder(cls, folder: Path) -> AsyncIterator["Stalling"]:
        """One that keeps its data there."""
        async with contextlib.AsyncExitStack() as stack:
            server = stack.enter_context(RedisServer(folder, ephemeral=True))
            valve = await stack.enter_async_context(Valve.before(server.port))
            url = SecretStr(server.url.replace(f":{server.port}", f":{valve.port}"))
            opening = open_redis(RedisSettings(url=url, timeout=0.1), try_every=0.01)
            yield cls(server, valve, await stack.enter_async_context(opening))

    async def ping(self) -> None:
        """Return when Redis answers."""
        await self.shards.servers.all[0].ping()

    async def lose_the_answer_to(self, write: Callable[[], Awaitable[None]]) -> None:
        """Call ``write`` until its commands reached Redis while no answer comes back."""
        self.valve.close()
        self.valve.holds.clear()
        async with asyncio.timeout(LIMIT):
            while not self.valve.holds.is_set():
                with contextlib.suppress(CacheUnavailable):
                    await write()
                await asyncio.sleep(0.01)
        self.valve.open()

    def server_client(self) -> "redis.Redis":
        """A client without a valve."""
        return redis.Redis.from_url(self.server.url)
