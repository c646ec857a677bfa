"""The console of ``serve --workers``: its charts, its errors and its problems are those of all workers."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import yaml
from playwright.async_api import expect

from tests.conftest import Images
from tests.processes import GatewayProcess, gateway_process
from tests.waiting import until
from tests.web.test_console import ConsolePage, console
from tests.workers.conftest import kill, workers_of

__all__ = ["console"]

pytestmark = [
    pytest.mark.timeout(300),  # several processes start, on a machine that may be busy
    pytest.mark.usefixtures("forked_commands"),
]


async def ask(running: GatewayProcess, path: str, times: int) -> None:
    """Send requests on connections of their own, so that all workers get some."""

    async def once() -> None:
        async with aiohttp.ClientSession() as session, session.get(running.public + path) as answer:
            await answer.read()

    await asyncio.gather(*(once() for _ in range(times)))


async def counts_of(running: GatewayProcess) -> dict[str, int]:
    """Return the counts of the points together."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(running.admin + "/api/v1/monitoring/console") as answer,
    ):
        points = (await answer.json())["data"]["points"]["fine"]
    names = {name for point in points for name in point["counts"]}
    return {name: sum(point["counts"].get(name, 0) for point in points) for name in names}


async def test_the_charts_the_errors_and_the_problems_are_those_of_all_workers_and_each_end_is_an_event(
    console: ConsolePage,
    raw_settings: dict[str, dict[str, Any]],
    images: Images,
    tmp_path: Path,
    redis_client: "redis.Redis",
) -> None:
    await images.add("a")
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    async with gateway_process("serve", "--workers", "2", "--config", str(config)) as running:
        await ask(running, "/i/a", 40)
        await ask(running, "/i/never-there", 20)

        async def are_in_points() -> bool:
            counts = await counts_of(running)
            return (counts.get("status 200"), counts.get("status 404")) == (40, 20)

        await until(are_in_points, what="the requests to all workers")
        await console.page.goto(running.admin + "/")
        await expect(console.page.locator("#errors")).to_contain_text("image_not_found")
        await expect(console.page.locator("#errors tbody tr td").nth(1)).to_have_text("20")
        await expect(console.page.locator("#charts figure")).to_have_count(8)
        await expect(console.page.locator("#replicas tbody tr")).to_have_count(2)
        await console.take_picture(console.page, "workers")
        ended = workers_of(running)[1]
        kill(ended, signal.SIGSTOP)
        try:
            await expect(console.page.locator("#sentence")).to_contain_text("1 of 2 workers answer.", timeout=60_000)
        finally:
            kill(ended)

        async def restarts() -> float:
            async with aiohttp.ClientSession() as session, session.get(running.admin + "/metrics") as answer:
                (value,) = re.findall(r"^image_gateway_worker_restarts_total (\S+)", await answer.text(), re.MULTILINE)
                return float(value)

        for end in range(1, 4):

            async def is_replaced(ended: int = ended, end: int = end) -> bool:
                workers = workers_of(running)
                return await restarts() == end and ended not in workers and len(workers) == 2

            await until(is_replaced, what=f"another worker after end {end}")
            if end < 3:
                ended = workers_of(running)[0]
                kill(ended)
        await console.page.goto(running.admin + "/")
        await expect(console.page.locator("#sentence")).to_contain_text("3 workers ended in the last 15 minutes.")
        await expect(console.page.locator("#remedy a")).to_have_text("Runbook: ImageGatewayWorkersEnd")
        ends = console.page.locator("#events li", has_text=re.compile(r"the worker \d ended: .*SIGKILL"))
        await expect(ends).to_have_count(3)
        points = "image:replicas"
        await until(lambda: "worker_ended" in str(redis_client.zrange(points, 0, -1)), what="the event for others")
        await expect(console.page.locator("#events li", has_text="the gateway started, version")).not_to_have_count(0)
