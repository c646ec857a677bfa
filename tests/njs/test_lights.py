"""nginx with a cache that hears of no change: the gateway names it, and says when it is over."""

import itertools
from typing import Any

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import RunningGateway, StartGateway
from tests.njs.conftest import StartNjs, site
from tests.valve import Valve
from tests.waiting import until


async def problems_of(gateway: RunningGateway) -> list[str]:
    """Return the names of the problems in the console, after a point of the history."""
    await gateway.publish_replica()
    data: dict[str, Any] = (await gateway.get("/api/v1/monitoring/console", admin=True)).json()["data"]
    return [problem["name"] for problem in data["symptoms"]]


async def test_an_nginx_that_asks_the_public_port_is_named_until_it_asks_the_admin_port(
    start_njs: StartNjs, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway()
    public, admin = (url.removeprefix("http://") for url in (gateway.ports.public, gateway.ports.admin))
    wrong = await start_njs(site("gateway-cache.conf", [public], [public]))

    async def is_named() -> bool:
        return await problems_of(gateway) == ["nginx_asks_wrong_port"]

    await until(is_named, what="the wrong port")
    assert gateway.sample("nginx_misdirected_total") > 0
    assert (await wrong.get("/api/v1/changes?since=0&nginx=edge")).status == 404
    await wrong.stop()
    await start_njs(site("gateway-cache.conf", [public], [admin]))
    asked = gateway.sample("nginx_misdirected_total")

    async def is_over() -> bool:
        return await problems_of(gateway) == [] and bool(gateway.service.metrics.nginx.nginx_asked.seconds())

    await until(is_over, what="the end")
    assert gateway.sample("nginx_misdirected_total") == asked


async def test_a_cache_in_use_that_cannot_ask_is_named_after_half_a_minute_until_it_asks(
    start_njs: StartNjs, start_gateway: StartGateway, cos: CosEmulator
) -> None:
    gateway = await start_gateway()
    numbers = itertools.count()
    public, admin = gateway.address, int(gateway.ports.admin.rpartition(":")[2])
    async with Valve.before(admin) as valve:
        nginx = await start_njs(site("gateway-cache.conf", [public], [f"127.0.0.1:{valve.port}"]))

        async def ask() -> list[str]:
            await nginx.get(f"/i/never-there-{next(numbers)}")
            return await problems_of(gateway)

        async def is_heard() -> bool:
            return await ask() == [] and bool(gateway.service.metrics.nginx.nginx_asked.seconds())

        async def is_named() -> bool:
            return (await ask())[:2] == ["nginx_unheard", "nginx_silent"]

        await until(is_heard, what="a question for changes")
        valve.lead_to(cos.port)
        await until(is_named, seconds=120, what="the silence")
        text = (await gateway.get("/metrics", admin=True)).body.decode()
        assert "image_gateway_nginx_cache_used_seconds " in text
        valve.lead_to(admin)
        await until(is_heard, what="the end of the silence")
