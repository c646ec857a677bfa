"""Reloads, pauses and steps of the clock: nginx hears of changes afterwards, and sends no copy of before."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from tests.nginx.conftest import Nginx
from tests.njs.conftest import Scripted, StartNjs, site, until_soon
from tests.njs.test_changes import cached, cached_after_start, floors, is_hit, until_is
from tests.valve import Valve
from tests.waiting import until

RELOADS = 10


def workers(nginx: Nginx) -> list[int]:
    """Return the ids of the processes of nginx, oldest first."""
    children = Path(f"/proc/{nginx.process.pid}/task/{nginx.process.pid}/children")
    return sorted(map(int, children.read_text().split()))


async def test_reloads_leave_nginx_hearing_beside_a_gateway_that_hangs(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    """For two seconds after each reload the worker of before asks, too."""
    first, second = two
    nginx = await start_njs(site("gateway-cache.conf", [first.address], [first.address, second.address]), workers=2)
    await cached_after_start(nginx, first, second)
    second.is_hanging = True
    for number in range(RELOADS):
        nginx.process.send_signal(signal.SIGHUP)
        for half in range(2):
            first.set("b", f"{number} {half}")
            await asyncio.sleep(0.2)

    async def is_new() -> bool:
        return (await nginx.get("/i/a")).body == first.images["a"].encode()

    for content in ("new", "newer"):
        assert is_hit(await nginx.get("/i/a"))
        first.set("a", content)
        await until_soon(is_new, what=content, seconds=2)
        assert await cached(nginx, "a") == content
    assert {int(asked["epochs"]) >= 0 for asked in first.asked + second.asked} == {True}
    assert floors(*two) == ["start"]


@pytest.mark.parametrize("fault", [Valve.lose_packets, Valve.close, Valve.drip])
async def test_nginx_hears_beside_a_gateway_whose_connection_is_half_open_and_asks_it_again_afterwards(
    start_njs: StartNjs, two: list[Scripted], fault: Callable[[Valve], object]
) -> None:
    first, second = two
    async with Valve.before(second.port) as valve:
        nginx = await start_njs(site("gateway-cache.conf", [first.address], [first.address, f"127.0.0.1:{valve.port}"]))
        await cached_after_start(nginx, first, second)
        fault(valve)
        for content in ("new", "newer"):
            assert is_hit(await nginx.get("/i/a"))
            first.set("a", content)
            await until_is(nginx, "a", content, seconds=5)
            assert await cached(nginx, "a") == content
        valve.open()
        asked = len(second.asked)
        await until(lambda: len(second.asked) > asked + 2)
    assert floors(*two) == ["start"]


async def test_while_the_worker_that_asks_is_stopped_the_others_send_no_copies(
    start_njs: StartNjs, gateway: Scripted
) -> None:
    nginx = await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]), workers=2)
    await cached_after_start(nginx, gateway)
    asker = workers(nginx)[0]

    async def is_new() -> bool:
        # By a new connection: the asker may have those of before, and the kernel may wake it for a new one, too.
        limit = aiohttp.ClientTimeout(total=0.3)
        with suppress(TimeoutError):
            async with aiohttp.ClientSession(timeout=limit) as session, session.get(f"{nginx.url}/i/a") as answer:
                return await answer.read() == gateway.images["a"].encode()
        return False

    os.kill(asker, signal.SIGSTOP)
    try:
        gateway.set("a", "new")
        await until_soon(is_new, what="the end of copies", seconds=5)
        gateway.set("a", "newer")
    finally:
        os.kill(asker, signal.SIGCONT)
    answer = None
    while answer is None or not is_hit(answer):
        answer = await nginx.get("/i/a")
        assert answer.body == b"newer"


@pytest.mark.parametrize("step", [-3_600_000, -10_000, 3_600_000])
async def test_after_a_step_of_its_clock_nginx_sends_no_copy_of_before(
    start_njs: StartNjs, gateway: Scripted, tmp_path: Path, step: int
) -> None:
    """The gateway has started a minute ago."""
    gateway.complete_since = gateway.now() - 60_000
    (clock := tmp_path / "clock").write_text("0")
    nginx = await start_njs(
        site("gateway-cache.conf", [gateway.address], [gateway.address]),
        {"Date.now()": f"(Date.now() + Number(require('fs').readFileSync('{clock}')))"},
    )
    await cached_after_start(nginx, gateway)
    gateway.is_silent = True
    gateway.set("a", "new")
    assert is_hit(await nginx.get("/i/a"))
    clock.write_text(str(step))
    gateway.is_silent = False
    await until_is(nginx, "a", "new", seconds=2)
    assert await cached(nginx, "a") == "new"
    await until(lambda: floors(gateway) == ["start", "gap"])
    await until(lambda: ("the clock of this machine was set back" in nginx.log) == (step < 0))
