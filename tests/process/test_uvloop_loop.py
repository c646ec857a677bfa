"""uvloop's event loop with descriptors that fail and are closed by others."""

import asyncio
import fcntl
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.process.uvloop_loop import Loop
from tests.limits import LIMIT


def on_uvloop(work: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    """Run ``work``; afterwards as many descriptors are open as before."""

    async def run() -> None:
        await work(asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=Loop) as first:  # libuv itself opens some in a process
        first.run(asyncio.sleep(0))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def fail(loop: asyncio.AbstractEventLoop) -> int:
    """Watch a socket until it fails, and close it as libpq does, which knows no event loop; return its number."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
    with socket.socket() as refused:
        refused.setblocking(False)
        refused.connect_ex(nobody)
        number = fcntl.fcntl(refused, fcntl.F_DUPFD_CLOEXEC, 200)  # a number that nothing else gets meanwhile
    failed = asyncio.Event()
    loop.add_writer(number, failed.set)
    await asyncio.wait_for(failed.wait(), LIMIT)
    os.close(number)
    return number


@pytest.mark.parametrize("again", ["reader", "writer"])
def test_the_number_of_a_failed_descriptor_can_be_watched_again(again: str) -> None:
    async def work(loop: asyncio.AbstractEventLoop) -> None:
        number = await fail(loop)
        ours, theirs = socket.socketpair()
        with theirs, ours:
            ours.setblocking(False)
            os.dup2(ours.fileno(), number)
            theirs.send(b"x")
            for _ in range(2):
                ready = asyncio.Event()
                getattr(loop, f"add_{again}")(number, ready.set)
                await asyncio.wait_for(ready.wait(), LIMIT)
            remove = getattr(loop, f"remove_{again}")
            assert (remove(number), remove(number)) == (True, False)
            os.close(number)

    on_uvloop(work)


def test_the_number_of_a_failed_descriptor_can_be_connected() -> None:
    async def work(loop: asyncio.AbstractEventLoop) -> None:
        number = await fail(loop)
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.socket() as client:
                os.dup2(client.fileno(), number)
            with socket.socket(fileno=number) as same_number:
                same_number.setblocking(False)
                await asyncio.wait_for(loop.sock_connect(same_number, server.getsockname()), LIMIT)

    on_uvloop(work)


def test_a_descriptor_is_watched_for_both_until_neither() -> None:
    async def work(loop: asyncio.AbstractEventLoop) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ours:
            ours.setblocking(False)
            readable, writable = asyncio.Event(), asyncio.Event()
            loop.add_reader(ours.fileno(), readable.set)
            loop.add_writer(ours.fileno(), writable.set)
            await asyncio.wait_for(writable.wait(), LIMIT)
            assert loop.remove_writer(ours.fileno())
            theirs.send(b"x")
            await asyncio.wait_for(readable.wait(), LIMIT)
            assert loop.remove_reader(ours.fileno())
            assert not loop.remove_reader(ours.fileno())
            loop.add_reader(ours, readable.set)
            loop.remove_reader(ours)

    on_uvloop(work)
