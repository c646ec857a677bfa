"""Half-open connections of each client of the gateway: requests go on within their limits, and all is used again.

Elsewhere: the subscription in ``tests/redis_replicas``, nginx that cannot ask in ``tests/njs``, workers that hang in
``tests/workers``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml

from gateway.canary.client import open_front_client
from gateway.concurrency.clocks import boot_time
from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.processes import gateway_process, ready
from tests.valve import Valve
from tests.waiting import until

Fault = Callable[[Valve], object]
FAULTS: Final[dict[str, Fault]] = {
    "packets are lost": Valve.lose_packets,
    "the kernel gives up": Valve.time_out,
    "nothing is answered": Valve.close,
    "answers come byte by byte": Valve.drip,
}
# No limit of a client is longer, even if a request waits for several, one after the other.
_WITHIN: Final = 20.0


@dataclass
class Ways:
    """The ways of a gateway: to Redis, to rows, to changes of rows, and to COS."""

    redis: Valve
    rows: Valve
    changes: Valve
    cos: Valve
    sections: dict[str, dict[str, Any]]

    @classmethod
    @asynccontextmanager
    async def opened(cls, raw_settings: dict[str, dict[str, Any]], cos: CosEmulator) -> AsyncIterator["Ways"]:
        """Open them. ``sections`` lead a gateway through them, with short limits."""
        redis_url, dsn = urlsplit(raw_settings["redis"]["url"]), raw_settings["postgres"]["dsn"]
        dsn_port = int(dsn.split("port=")[1].split()[0])

        def through(valve: Valve) -> str:
            return str(dsn.replace(f"port={dsn_port}", f"port={valve.port}"))

        async with AsyncExitStack() as stack:
            redis, rows, changes, to_cos = [
                await stack.enter_async_context(Valve.before(port))
                for port in (redis_url.port or 0, dsn_port, dsn_port, cos.port)
            ]
            url = redis_url._replace(netloc=f":{redis_url.password}@127.0.0.1:{redis.port}").geturl()
            sections = {
                "redis": {"url": url, "timeout": 0.3},
                "postgres": {"dsn": through(rows), "listen_dsn": through(changes), "timeout": 3, "pool_size": 2},
                "cos": {"domain": f"127.0.0.1:{to_cos.port}"},
                "image_proxy": {"timeout": 4, "retry_count": 1, "memory_cache": {"max_bytes": 0}},
            }
            yield cls(redis, rows, changes, to_cos, sections)

    def all(self) -> list[Valve]:
        """Return all of them."""
        return [self.redis, self.rows, self.changes, self.cos]


@dataclass
class Bench:
    """A gateway, its ways, and the way of others to it."""

    gateway: RunningGateway
    ways: Ways
    front: Valve

    async def ask(self, *image_ids: str) -> set[int]:
        """Return the statuses of requests for images. Each must end in time."""
        async with asyncio.timeout(_WITHIN):
            answers = await asyncio.gather(*(self.gateway.get(f"/i/{image_id}") for image_id in image_ids))
            assert (await self.gateway.get("/healthz")).status == 200
        return {answer.status for answer in answers}

    def hears(self) -> bool:
        """Whether changes are heard, of rows and of other replicas."""
        return self.gateway.changes.hears(boot_time())

    async def until_served(self, image_id: str) -> None:
        async def is_served() -> bool:
            return await self.ask(image_id) == {200}

        await until(is_served, what=f"the image {image_id}")

    async def until_ready(self) -> None:
        """Return when everything is used again."""

        async def is_ready() -> bool:
            await self.gateway.service.diagnostics.health.probe_all()
            return bool((await self.gateway.get("/readyz")).json()["status"] == "ready") and self.hears()

        await until(is_ready, what="the end of the fault")


@pytest.fixture
async def bench(
    start_gateway: StartGateway, images: Images, raw_settings: dict[str, dict[str, Any]], cos: CosEmulator
) -> AsyncIterator[Bench]:
    for number in range(8):
        await images.add(f"image-{number}")
    async with Ways.opened(raw_settings, cos) as ways:
        gateway = await start_gateway(**ways.sections)
        async with Valve.before(int(gateway.ports.public.rpartition(":")[2])) as front:
            yield Bench(gateway, ways, front)
            await gateway.close()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_requests_go_on_while_connections_are_half_open_and_all_are_used_afterwards(
    fault: Fault, bench: Bench
) -> None:
    await bench.until_ready()
    assert await bench.ask("image-0") == {200}

    fault(bench.ways.redis)
    assert await bench.ask("image-0", "image-1", "image-2") == {200}
    fault(bench.ways.changes)
    assert await bench.ask("image-0", "image-3") == {200}
    if fault is Valve.time_out:
        await until(lambda: not bench.hears())
        assert await bench.ask("image-0", "image-4") == {200}
    bench.ways.redis.open()
    bench.ways.changes.open()
    await bench.until_ready()

    assert await bench.ask("image-0") == {200}
    fault(bench.ways.rows)
    assert await bench.ask("image-0") == {200}
    assert await bench.ask("image-5") == {503}
    bench.ways.rows.open()
    await bench.until_served("image-5")

    fault(bench.ways.cos)
    assert await bench.ask("image-6", "image-7") <= {502, 503, 504}
    bench.ways.cos.open()
    await bench.until_served("image-6")
    await bench.until_ready()


async def test_a_gateway_that_is_cut_off_answers_ends_when_it_is_told_and_is_whole_after_the_end(
    raw_settings: dict[str, dict[str, Any]], images: Images, cos: CosEmulator, tmp_path: Path
) -> None:
    for number in range(2):
        await images.add(f"image-{number}")
    async with Ways.opened(raw_settings, cos) as ways:
        sections = {name: raw_settings[name] | ways.sections.get(name, {}) for name in raw_settings}
        (config := tmp_path / "gateway.yaml").write_text(yaml.safe_dump(sections))
        async with (
            gateway_process("serve", "--config", str(config)) as gateway,
            aiohttp.ClientSession(gateway.public) as session,
        ):

            async def ask(path: str) -> int:
                async with asyncio.timeout(_WITHIN), session.get(path) as answer:
                    await answer.read()
                    return answer.status

            async def is_whole() -> bool:
                return bool((await ready(gateway.admin))["status"] == "ready")

            await until(is_whole)
            assert await ask("/i/image-0") == 200
            for way in (ways.redis, ways.rows, ways.changes):
                way.lose_packets()
            assert [await ask("/i/image-0"), await ask("/i/image-1"), await ask("/healthz")] == [200, 503, 200]
            for way in ways.all():
                way.open()
            await until(is_whole)
            assert await ask("/i/image-1") == 200
            for way in ways.all():
                way.lose_packets()
            assert await ask("/i/image-1") in (502, 504)
            assert await ask("/healthz") == 200
            gateway.terminate()
            assert await gateway.exit_code() == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_key_sets_purges_and_the_canary_leave_a_half_open_connection_in_time(fault: Fault, bench: Bench) -> None:
    """Key sets, purges and Tencent Cloud's services have one client."""
    url = f"http://127.0.0.1:{bench.front.port}/healthz"
    async with BoundedHttp(0.5) as http, open_front_client(lambda: "request-id", 0.5) as canary, asyncio.timeout(LIMIT):

        async def is_alive() -> bool:
            with suppress(ServiceUnavailable):  # late on a busy machine
                return b"alive" in await http.get(url) and (await canary.ask(url)).status == 200
            return False

        await until(is_alive, what="an answer")
        fault(bench.front)
        with pytest.raises(ServiceUnavailable):
            await http.get(url)
        with pytest.raises(ServiceUnavailable):
            await http.post(url, {}, b"{}")
        assert (await canary.ask(url)).problem == "no answer within 0.5 s"
        bench.front.open()
        await until(is_alive, what="an answer")
