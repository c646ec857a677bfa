"""Workers that are replaced or reload one by one, and what systemd hears meanwhile."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import SECRET_KEY, Images
from tests.direct_clients import direct_clients
from tests.process.test_systemd import Receiver
from tests.processes import GatewayProcess
from tests.waiting import until
from tests.workers.conftest import AS_ADMIN, STARTED, StartWorkers, get_text, kill, roll, workers_of

pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    """The manager's end of the socket. It is read at once: the kernel keeps ten states at most, and refuses others."""
    receiver = Receiver(str(tmp_path / "notify"))
    asyncio.get_running_loop().add_reader(receiver.socket, receiver.received)
    yield receiver
    asyncio.get_running_loop().remove_reader(receiver.socket)
    receiver.socket.close()


def install(folder: Path, version: str) -> Path:
    """Make a virtual environment with the installed gateway under another version, as pip leaves it; return it."""
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    described = packages / f"image_gateway-{version}.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: image-gateway\nVersion: {version}\n")
    (packages / "all.pth").write_text("\n".join(path for path in sys.path if path))
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    script = folder / "bin" / "image-gateway"
    script.write_text(f"#!{folder}/bin/python\nfrom gateway.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder


def ready_lines(running: GatewayProcess, version: str) -> int:
    """Return how many workers of this version have become ready."""
    return sum("worker is ready: " in line and f"version={version} " in line for line in running.lines)


async def all_answer(running: GatewayProcess, path: str, status: int) -> None:
    """Wait until every worker answers ``path`` with ``status``, on connections of its own."""

    async def do_they() -> bool:
        statuses = set()
        for _ in range(20):
            async with aiohttp.ClientSession() as session, session.get(running.public + path) as answer:
                statuses.add(answer.status)
        return statuses == {status}

    await until(do_they, seconds=STARTED)


async def test_workers_on_a_socket_of_systemd_are_replaced_by_a_new_version_without_a_failed_request(
    start_workers: StartWorkers, images: Images, tmp_path: Path
) -> None:
    """As deployment.md has it: each version in a folder, and a link to the current one."""
    await images.add("cat", bytes(1000))
    link, old, new = tmp_path / "current", install(tmp_path / "old", "1.2.3"), install(tmp_path / "new", "4.5.6")
    link.symlink_to(old)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        program = [str(link / "bin" / "image-gateway")]
        running = await start_workers(2, options={"listener": listener, "program": program})
        link.unlink()
        link.symlink_to(new)
        kill(workers_of(running)[0])  # a crash starts no other version
        await until(lambda: ready_lines(running, "1.2.3") == 3, seconds=STARTED)
        before = workers_of(running)
        port = int(running.public.rpartition(":")[2])
        assert port == listener.getsockname()[1]
        async with direct_clients("127.0.0.1", port, "/i/cat") as outcomes:
            await roll(running)
            served = outcomes.total()
            await until(lambda: outcomes.total() > served + 100, seconds=STARTED, what="answers")
        text = await get_text(running.admin + "/metrics")
    assert set(outcomes) == {"new: 200", "kept: 200"}, outcomes
    assert not set(workers_of(running)) & set(before)
    assert len(workers_of(running)) == 2
    assert ready_lines(running, "4.5.6") == 2
    await running.line_with(f"replacing workers by those of a program: program={new / 'bin' / 'image-gateway'}")
    await running.line_with("all workers are replaced: version=4.5.6")
    assert 'image_gateway_build_info{version="4.5.6",worker="1"} 1.0' in text


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

    # A worker that dies does not take the file into use, neither with a mistake nor with an edit.
    kill(before[0])
    await until(lambda: len(workers_of(running)) == 2 and before[0] not in workers_of(running), seconds=STARTED)
    config(image_variants={"originals": "owner"})
    kill(before[1])
    await until(lambda: len(workers_of(running)) == 2 and before[1] not in workers_of(running), seconds=STARTED)
    replaced = workers_of(running)
    await all_answer(running, "/i/cat", 200)
    await all_answer(running, "/i/cat?style=new", 400)

    config(url_cache={"default_ttl": -1})
    running.process.send_signal(signal.SIGUSR2)
    await running.line_with(
        "workers are not replaced any further: worker 1 ended before it was ready: exit code 2", seconds=STARTED
    )
    assert workers_of(running) == replaced
    config(image_variants={"originals": "owner"})
    await roll(running)
    await all_answer(running, "/i/cat", 404)
    assert not "".join(line for line in running.lines if SECRET_KEY in line)
    running.process.kill()
    await until(lambda: not workers_of(running), seconds=STARTED, what="the end of workers without a parent")


async def test_systemd_hears_of_all_from_the_parent_alone_and_nothing_while_no_worker_shows_life(
    start_workers: StartWorkers, receiver: Receiver, tmp_path: Path
) -> None:
    variables = {"NOTIFY_SOCKET": receiver.socket.getsockname(), "WATCHDOG_USEC": "600000"}
    picture = tmp_path / "error.svg"
    picture.write_bytes((Path(__file__).parents[2] / "config" / "fallback.svg").read_bytes())
    fallback = {"fallback": {"path": str(picture)}}
    running = await start_workers(2, options={"environment": variables}, image_proxy=fallback)
    await until(lambda: receiver.received().count("READY=1") == 1, seconds=STARTED)
    await until(lambda: receiver.received().count("WATCHDOG=1") > 3, what="signs of life", seconds=STARTED)
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: receiver.received().count("READY=1") == 2, seconds=STARTED, what="the end of the reload")
    await roll(running)

    await until(lambda: len(workers_of(running)) == 2, seconds=STARTED)
    said = len(running.lines)
    # Paused together with their parent, as in a virtual machine, for longer than a worker may be silent, here 3 s.
    workers, parent = workers_of(running), running.process.pid
    for pid in (*workers, parent):
        kill(pid, signal.SIGSTOP)
    paused = time.monotonic()
    await until(lambda: time.monotonic() - paused > 4)
    for pid in (parent, *workers):
        kill(pid, signal.SIGCONT)
    count = receiver.received().count("WATCHDOG=1")
    await until(lambda: receiver.received().count("WATCHDOG=1") > count + 3, seconds=STARTED, what="signs of life")
    assert workers_of(running) == workers
    assert not [line for line in running.lines[said:] if "no sign of life" in line]

    hangs = workers_of(running)[0]
    kill(hangs, signal.SIGSTOP)
    await running.line_with("worker gives no sign of life, killing it: worker=1", seconds=STARTED)
    await until(lambda: hangs not in workers_of(running) and len(workers_of(running)) == 2, seconds=STARTED)

    picture.unlink()  # no other worker can start
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
