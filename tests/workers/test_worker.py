"""The program of workers (a folder for each version, and a link to the current one), and their orders."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.process.signals import Signals
from gateway.workers.worker import kept, resolved, started_by
from gateway.workers.worker_channel import LONGEST_LINE, Assignment, WorkerChannel
from tests.limits import LIMIT


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link to the older one of two versions; each has a script and an interpreter, which is a link itself."""
    python = tmp_path / "usr" / "python3"
    python.parent.mkdir()
    python.touch(0o755)
    for version in ("old", "new"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "image-gateway").touch(0o755)
        (tmp_path / version / "bin" / "python").symlink_to(python)
    made = tmp_path / "current"
    made.symlink_to(tmp_path / "old")
    return made


def test_a_script_is_started_again_by_its_own_path_and_not_by_its_interpreter(link: Path, tmp_path: Path) -> None:
    shortcut = tmp_path / "image-gateway"
    shortcut.symlink_to(link / "bin" / "image-gateway")
    for script in (link / "bin" / "image-gateway", shortcut):
        command = started_by(str(script), str(tmp_path / "old" / "bin" / "python"))
        assert command == (str(script),)
        assert resolved(command) == (str(tmp_path / "old" / "bin" / "image-gateway"),)


def test_a_module_is_started_again_by_the_interpreter_of_its_environment(link: Path, tmp_path: Path) -> None:
    command = started_by("/anywhere/gateway/__main__.py", str(link / "bin" / "python"))
    assert command == (str(link / "bin" / "python"), "-m", "gateway")
    assert resolved(command) == (str(tmp_path / "old" / "bin" / "python"), "-m", "gateway")


def test_a_version_is_kept_when_the_link_moves_until_it_is_removed(link: Path, tmp_path: Path) -> None:
    command = started_by(str(link / "bin" / "image-gateway"), "")
    old = resolved(command)
    link.unlink()
    link.symlink_to(tmp_path / "new")
    assert kept(old, command) == old
    shutil.rmtree(tmp_path / "old")
    assert kept(old, command) == (str(tmp_path / "new" / "bin" / "image-gateway"),)


@asynccontextmanager
async def taken_channel(orders: bytes = b"") -> AsyncIterator[tuple[socket.socket, WorkerChannel]]:
    """Take the channel of a worker to which these orders were sent already. Yield the parent's end, and the channel."""
    parent, end = socket.socketpair()
    with parent, socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as admin:
        assignment = Assignment(0, [os.dup(public.fileno())], os.dup(admin.fileno()), "secret")
        parent.sendall(assignment.line() + orders)
        channel = await asyncio.to_thread(WorkerChannel.take, end.detach())  # it reads before there is a loop
        yield parent, channel
    for taken in (*channel.public, *channel.admin):
        taken.close()


async def test_an_order_that_is_unknown_or_cut_off_by_the_parents_end_does_not_keep_a_worker_running() -> None:
    signals, asked = Signals(), list[str]()
    async with taken_channel(b"of a later version\nasked edge\nreload\nrel") as (parent, channel):
        channel.on_asked = asked.append
        async with channel.obeying(signals), asyncio.timeout(5):
            await signals.reload.wait()
            assert not signals.stop.is_set()
            assert asked == ["edge"]
            parent.close()
            await signals.stop.wait()
    assert not signals.force_stop.is_set()


async def test_states_that_follow_large_settings_arrive() -> None:
    settings, received, loop = "x" * (LONGEST_LINE // 2), b"", asyncio.get_running_loop()
    async with taken_channel() as (parent, channel):
        parent.setblocking(False)
        async with channel.obeying(Signals()), asyncio.timeout(LIMIT):
            channel.send("SETTINGS", settings)
            channel.send("HEARD", "1")
            channel.manager().ready()
            while not received.endswith(b"READY=1\n"):
                received += await loop.sock_recv(parent, LONGEST_LINE)
    assert received == f"SETTINGS={settings}\nHEARD=1\nREADY=1\n".encode()
