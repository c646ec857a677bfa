"""Workers that are replaced or reload one by one, and what systemd hears meanwhile."""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import Images
from tests.direct_clients import direct_clients
from tests.process.test_service_manager import Receiver
from tests.processes import GatewayProcess
from tests.waiting import until
from tests.workers.conftest import AS_ADMIN, STARTED, StartWorkers, kill, roll, workers_of

pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    """The manager's end of the socket. It is read at once: the kernel keeps ten states at most, and refuses others."""
    receiver = Receiver(str(tmp_path / "notify"))
    asyncio.get_running_loop().add_reader(receiver.socket, receiver.received)
    yield receiver
    asyncio.get_running_loop().remove_reader(receiver.socket)
    receiver.socket.close()


async def all_answer(running: GatewayProcess, path: str, status: int) -> None:
    """Wait until every worker answers ``path`` with ``status``, on connections of its own."""

    async def do_they() -> bool:
        statuses = set()
        for _ in range(20):
            async with aiohttp.ClientSession() as session, session.get(running.public + path) as answer:
                statuses.add(answer.status)
        return statuses == {status}

    await until(do_they, seconds=STARTED)


async def test_workers_on_a_socket_of_systemd_are_replaced_without_a_failed_request(
    start_workers: StartWorkers, images: Images
) -> None:
    await images.add("cat", bytes(1000))
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        running = await start_workers(2, options={"listener": listener})
        before = workers_of(running)
        port = int(running.public.rpartition(":")[2])
        assert port == listener.getsockname()[1]
        async with direct_clients("127.0.0.1", port, "/i/cat") as outcomes:
            await roll(running)
            served = outcomes.total()
            await until(lambda: outcomes.total() > served + 100, seconds=STARTED, what="answers")
    assert set(outcomes) == {"new: 200", "kept: 200"}, outcomes
    assert not set(workers_of(running)) & set(before)
    assert len(workers_of(running)) == 2


async def test_a_reload_reaches_every_worker_and_a_new_one_that_cannot_start_leaves_the_old_ones(
    start_workers: StartWorkers, config: Callable[..., Path], images: Images
) -> None:
    await images.add("cat")
    running = await start_workers(2)
    before = workers_of(running)
    await all_answer(running, "/i/cat?style=new", 400)
    config(image_styles={"new": "imageMogr2/thumbnail/10x"}, image_variants={"originals": "owner"})
    running.process.send_signal(signal.SIGHUP)
    await all_answer(running, "/i/cat", 404)
    url = running.admin + "/api/v1/config/reload"
    async with aiohttp.ClientSession() as session:
        config()
        async with session.post(url, headers=AS_ADMIN) as answer:
            assert answer.status == 200
            assert "image_variants.originals" in (await answer.json())["data"]["changed"]
        await all_answer(running, "/i/cat", 200)
        async with session.post(url) as answer:
            assert answer.status == 401
        config(url_cache={"default_ttl": -1})
        async with session.post(url, headers=AS_ADMIN) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "configuration_refused")
    assert workers_of(running) == before

    running.process.send_signal(signal.SIGUSR2)
    await running.line_with(
        "workers are not replaced any further: worker 1 ended before it was ready: exit code 2", seconds=STARTED
    )
    assert workers_of(running) == before
    await all_answer(running, "/i/cat", 200)
    # A worker that ends now is started again and again, at growing intervals.
    kill(before[0])
    await running.line_with("worker ended, starting another: worker=1 reason=signal SIGKILL delay=0.1", seconds=STARTED)
    await running.line_with("exit code 2 delay=0.2", seconds=STARTED)
    await running.line_with("exit code 2 delay=0.4", seconds=STARTED)
    config()
    await until(lambda: len(workers_of(running)) == 2, seconds=STARTED)
    await running.line_with(f"worker is ready: worker=1 pid={workers_of(running)[-1]}", seconds=STARTED)


async def test_systemd_hears_of_all_from_the_parent_alone_and_nothing_while_no_worker_shows_life(
    start_workers: StartWorkers, receiver: Receiver, config: Callable[..., Path]
) -> None:
    variables = {"NOTIFY_SOCKET": receiver.socket.getsockname(), "WATCHDOG_USEC": "600000"}
    running = await start_workers(2, options={"environment": variables})
    await until(lambda: receiver.received().count("READY=1") == 1, seconds=STARTED)
    await until(lambda: receiver.received().count("WATCHDOG=1") > 3, what="signs of life", seconds=STARTED)
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: receiver.received().count("READY=1") == 2, seconds=STARTED, what="the end of the reload")
    await roll(running)

    hangs = workers_of(running)[0]
    kill(hangs, signal.SIGSTOP)
    await running.line_with("worker gives no sign of life, killing it: worker=1", seconds=STARTED)
    await until(lambda: hangs not in workers_of(running) and len(workers_of(running)) == 2, seconds=STARTED)

    config(url_cache={"default_ttl": -1})  # no other worker can start
    for pid in workers_of(running):
        kill(pid)

    def is_silent() -> bool:
        receiver.received()
        newest = max(at for state, at in receiver.states if state == "WATCHDOG=1")
        return time.monotonic() - newest > 1

    async def is_unhealthy() -> bool:
        async with aiohttp.ClientSession() as session, session.get(running.admin + "/healthz") as answer:
            return answer.status == 503

    await until(is_unhealthy, seconds=STARTED)
    await until(is_silent, seconds=STARTED)
    async with aiohttp.ClientSession() as session:
        async with session.get(running.admin + "/readyz") as answer:
            assert (answer.status, (await answer.json())["status"]) == (503, "not_ready")
        async with session.get(running.admin + "/api/v1/monitoring/queue") as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "no_worker")

    running.terminate()
    assert await running.exit_code() == 0
    states = [state.partition("\n")[0] for state in receiver.received() if state != "WATCHDOG=1"]
    assert states == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


async def test_workers_that_were_paused_together_with_their_parent_are_not_killed(
    start_workers: StartWorkers, receiver: Receiver
) -> None:
    """As in a container or a virtual machine that is paused for longer than a worker may be silent, here 3 s."""
    variables = {"NOTIFY_SOCKET": receiver.socket.getsockname(), "WATCHDOG_USEC": "600000"}
    running = await start_workers(2, options={"environment": variables})
    await until(lambda: len(workers_of(running)) == 2, seconds=STARTED)
    workers = workers_of(running)
    parent = running.process.pid
    for pid in (*workers, parent):
        kill(pid, signal.SIGSTOP)
    paused = time.monotonic()
    await until(lambda: time.monotonic() - paused > 4)
    for pid in (parent, *workers):
        kill(pid, signal.SIGCONT)
    count = receiver.received().count("WATCHDOG=1")
    await until(lambda: receiver.received().count("WATCHDOG=1") > count + 3, seconds=STARTED, what="signs of life")
    assert workers_of(running) == workers
    assert not [line for line in running.lines if "no sign of life" in line]
