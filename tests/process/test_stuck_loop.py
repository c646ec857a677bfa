"""Processes whose event loop does not turn: by their own fault, or because they are paused."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.process.stuck_loop import STUCK
from tests.limits import LIMIT
from tests.waiting import until

# Serves as `serve` does, with a loop that never turns again.
_STUCK_GATEWAY = """
from gateway.commands.serve_process import run_until_stopped
from gateway.settings.sources import load_settings

async def never_turns(signals):
    while True:
        pass

run_until_stopped(load_settings(None), never_turns)
"""
_SETTINGS = {"GATEWAY_POSTGRES__DSN": "postgresql://localhost/none"} | {
    f"GATEWAY_COS__{name}": "example-1250000000" for name in ("SECRET_ID", "SECRET_KEY", "BUCKET")
}
# Prints a line each tenth of a second, and ends when it has printed the last one.
_PAUSED = """
import asyncio
from gateway.process.stuck_loop import exit_when_stuck

async def main():
    with exit_when_stuck(0.5):
        for number in range(20):
            print(number, flush=True)
            await asyncio.sleep(0.1)

asyncio.run(main())
"""
_FULL_PIPE = """
import asyncio, time
from gateway.process.stuck_loop import exit_when_stuck

async def main():
    with exit_when_stuck(0.5):
        time.sleep(60)

asyncio.run(main())
"""


async def test_a_process_whose_loop_is_stuck_for_ten_seconds_writes_its_stacks_and_exits_70() -> None:
    loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _STUCK_GATEWAY, stderr=asyncio.subprocess.PIPE, env=os.environ | _SETTINGS
    )
    async with asyncio.timeout(LIMIT):
        _, written = await process.communicate()
    assert process.returncode == STUCK, written.decode()
    assert loop.time() - started >= 10
    assert b"the event loop was stuck for 10 s: exit code 70" in written
    assert b"in never_turns" in written
    assert len(written) <= 65_536 + 100


async def test_a_process_that_was_paused_is_not_stuck() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PAUSED, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT):
        assert await process.stdout.readline() == b"0\n"
        for _ in range(2):
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1)  # twice as long as a loop may be stuck
            process.send_signal(signal.SIGCONT)
        rest = await process.stdout.read()
        assert await process.wait() == 0
    assert rest.endswith(b"19\n")


@contextmanager
def full_pipe() -> Iterator[int]:
    """Yield the end of a pipe that takes nothing more, and that nobody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_reader_of_standard_error_that_sleeps_does_not_keep_the_process() -> None:
    with full_pipe() as stderr:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", _FULL_PIPE, stderr=stderr)
        await until(lambda: process.returncode is not None)
    assert process.returncode == STUCK
