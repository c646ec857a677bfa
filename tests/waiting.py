"""Wait for a condition, within a time limit."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import redis
from prometheus_client import CollectorRegistry

from gateway_dev.cos_emulator.request_log import LoggedRequest
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import RunningGateway
from tests.limits import LIMIT


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run endless ``work`` until the context ends; fail if any of it has ended before."""
    tasks = [asyncio.create_task(each, name="running") for each in work]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def until(
    condition: Callable[[], Awaitable[object] | object], *, seconds: float = LIMIT, what: str = "the condition"
) -> None:
    """Return when ``condition``, which may be a coroutine function, holds; fail if it does not within ``seconds``."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while True:
        result = condition()
        if await result if inspect.isawaitable(result) else result:
            return
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        await asyncio.sleep(pause)
        pause = min(1.2 * pause, 0.05)  # a condition that sends a request would keep a processor busy


async def until_counted(registry: CollectorRegistry, name: str, **labels: str) -> None:
    """Return when the metric ``image_gateway_<name>`` with these labels is above 0."""
    await until(lambda: registry.get_sample_value(f"image_gateway_{name}", labels), what=f"{name} {labels}")


async def until_listening_to_changes(admin: str) -> None:
    """Return when the gateway with this admin port listens to changes in Postgres: earlier ones do not reach it."""

    async def is_listening() -> bool:
        async with session.get(f"{admin}/metrics") as response:
            return "image_gateway_change_feed_connected 1.0" in await response.text()

    async with aiohttp.ClientSession() as session:
        await until(is_listening, what="the connection to changes")


async def until_listening(gateway: RunningGateway, redis_client: "redis.Redis") -> None:
    """Return when the gateway hears of changes: what it has cached before, it reads again."""
    await until(
        lambda: (
            redis_client.pubsub_channels()
            and gateway.sample("change_feed_connected")
            and gateway.sample("change_trigger_installed") == 1
        ),
        what="the listening",
    )
    await gateway.get("/healthz")  # afterwards the loop has noticed what the sockets have


async def until_answered(gateway: RunningGateway, path: str, status: int) -> None:
    """Return when the gateway answers a GET of ``path`` with ``status``."""

    async def is_answered() -> bool:
        return (await gateway.get(path)).status == status

    await until(is_answered, what=f"{status} for {path}")


async def until_ready(address: str) -> None:
    """Return when the gateway says that nothing is away: a probe that a busy machine holds up says another thing."""

    async def is_ready() -> bool:
        async with session.get(f"{address}/readyz") as response:
            return bool((await response.json())["status"] == "ready")

    async with aiohttp.ClientSession() as session:
        await until(is_ready, what="readiness")


async def until_asked(cos: CosEmulator, key: str) -> LoggedRequest:
    """Return the first request for the object as soon as COS has received it."""
    await until(lambda: cos.request_log.of(key), what=f"a request for {key}")
    return cos.request_log.of(key)[0]


async def until_finished(cos: CosEmulator, key: str) -> LoggedRequest:
    """Return the one request for the object as soon as COS has finished it."""
    await until(
        lambda: all(seen.finished for seen in cos.request_log.of(key)), what=f"the end of the transfer of {key}"
    )
    (seen,) = cos.request_log.of(key)
    return seen
