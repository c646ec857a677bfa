"""The supervisor, with processes that only speak as workers do."""

import asyncio
import os
import signal
import sys
import time
from contextlib import AsyncExitStack

import pytest

from gateway.concurrency.background import background
from gateway.workers.supervisor import StartWorker, Supervisor
from gateway.workers.worker import Accepted, Worker, WorkerCommand
from tests.limits import LIMIT
from tests.waiting import until
from tests.workers.conftest import STARTED

# Says that it is ready; at the order to reload, accepts the settings "edited"; at the order to stop, tells what the
# first argument says and ends after so many seconds.
SPEAKS = """
import socket, sys, time
channel = socket.socket(fileno=int(sys.argv[-1]))
received = channel.recv(4096)
channel.send(b"READY=1\\n")
while b"stop" not in received:
    received += (order := channel.recv(4096))
    if order == b"reload\\n":
        channel.send(b"SETTINGS=edited\\nREADY=1\\n")
channel.send(sys.argv[1].encode() + b"\\nSTOPPING=1\\n")
time.sleep(float(sys.argv[2]))
"""

# Says that it is ready, and at the first order ends as a process does whose event loop is stuck.
STUCK = """
import os, socket, sys
channel = socket.socket(fileno=int(sys.argv[-1]))
channel.recv(4096)
channel.send(b"READY=1\\n")
channel.recv(4096)
os._exit(70)
"""


def run(*arguments: str) -> WorkerCommand:
    """Return the command that gives these arguments to Python."""
    return WorkerCommand([sys.executable], arguments, os.environ, "")


class Starts:
    """Starts such processes, with these arguments. ``given`` and ``made``: what each was given, and its worker."""

    def __init__(self, told: str = "", takes: float = 0) -> None:
        self.given: list[Accepted | None] = []
        self.made: list[Worker] = []
        self._command = run("-IS", "-c", SPEAKS, told, str(takes))

    async def __call__(self, number: int, accepted: Accepted | None) -> Worker:
        self.given.append(accepted)
        self.made.append(await self._command.start(number, accepted, []))
        return self.made[-1]


def supervisor_of(start_worker: StartWorker, kill_after: float = 0.3) -> Supervisor:
    """Return a supervisor of one worker: its drain may take no time, and it is killed ``kill_after`` seconds later."""
    accepted = Accepted([sys.executable], "as at the start")
    return Supervisor(1, start_worker, accepted, silence=60, grace=0, kill_after=kill_after)


def settings_of(supervisor: Supervisor) -> list[str | None]:
    """Return the settings that each worker that serves has accepted."""
    return [worker.accepted.settings for worker in supervisor.ready() if worker.accepted is not None]


async def test_a_worker_may_take_as_long_to_drain_as_it_tells() -> None:
    supervisor = supervisor_of(Starts(told="GRACE=30", takes=6.4), kill_after=6)  # it must tell that in time
    async with supervisor.running():
        (worker,) = supervisor.ready()
        await supervisor.drain(asyncio.Event())
    assert worker.outcome() == "exit code 0"


async def test_a_worker_that_takes_longer_is_killed() -> None:
    supervisor = supervisor_of(Starts(takes=60))
    async with supervisor.running():
        (worker,) = supervisor.ready()
        started = time.monotonic()
        await supervisor.drain(asyncio.Event())
    assert worker.outcome() == "signal SIGKILL"
    assert time.monotonic() - started < 30


async def test_a_worker_whose_process_is_made_when_the_drain_begins_is_not_left_behind() -> None:
    """Nobody would tell it to stop: it would serve until the parent ends, and be killed then."""
    start, is_drained = Starts(), asyncio.Event()
    made = start.made

    async def start_slowly(number: int, accepted: Accepted | None) -> Worker:
        worker = await start(number, accepted)
        if len(made) > 1:
            await is_drained.wait()
        return worker

    supervisor = supervisor_of(start_slowly)
    async with supervisor.running():
        made[0].kill()
        await until(lambda: len(made) == 2, seconds=STARTED)
        await supervisor.drain(asyncio.Event())
        is_drained.set()
        await until(made[1].ended.is_set, seconds=STARTED, what="the end of the second worker")
    assert not supervisor.ready()


async def test_a_worker_that_dies_in_a_drain_during_the_first_start_leaves_the_other_one_to_drain() -> None:
    """Ctrl-C reaches all processes of the group, and ends a worker that still imports its modules."""
    start, never_ready = Starts(takes=1), run("-IS", "-c", "import time; time.sleep(3600)")
    made = start.made

    async def start_one(number: int, accepted: Accepted | None) -> Worker:
        if number == 1:
            return await start(number, accepted)
        made.append(await never_ready.start(number, accepted, []))
        return made[-1]

    accepted = Accepted([sys.executable], "as at the start")
    supervisor = Supervisor(2, start_one, accepted, silence=60, grace=0, kill_after=3600)
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(stack.enter_async_context(supervisor.running()), name="start-workers")
        await until(lambda: len(made) == 2, seconds=STARTED)
        async with background("drain", supervisor.drain(asyncio.Event())) as drain:
            await until(lambda: made[0].is_stopping, seconds=STARTED)
            made[1].kill()
            await drain
        assert made[0].outcome() == "exit code 0"
        await starting


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGRTMIN + 1], ids=["a signal", "a signal without a name"])
async def test_a_worker_that_dies_is_replaced_by_one_with_what_was_accepted_last(end: int) -> None:
    start = Starts()
    given, supervisor = start.given, supervisor_of(start)
    async with supervisor.running():
        await supervisor.reload()
        (worker,) = supervisor.ready()
        worker.process.send_signal(end)
        await until(lambda: len(given) == 2 and supervisor.ready(), seconds=STARTED)
        assert [accepted.settings for accepted in given if accepted is not None] == ["as at the start", "edited"]
        await supervisor.roll()
        assert given[2:] == [None]


async def test_a_reload_reaches_a_worker_that_was_missing_at_first_and_started_with_the_settings_of_before() -> None:
    supervisor = Supervisor(2, Starts(), Accepted([sys.executable], "as at the start"), silence=60, grace=0)
    async with supervisor.running():
        killed, slow = supervisor.ready()
        killed.kill()
        await killed.ended.wait()
        slow.process.send_signal(signal.SIGSTOP)
        reload = asyncio.create_task(supervisor.reload(), name="reload")
        await until(lambda: len(supervisor.ready()) == 2, seconds=STARTED)
        slow.process.send_signal(signal.SIGCONT)
        await reload
        assert settings_of(supervisor) == ["edited", "edited"]


async def test_a_reload_during_the_first_start_reaches_the_workers_that_start_after_the_first_one() -> None:
    """The admin port is open by then."""
    start, may_start = Starts(), asyncio.Event()

    async def start_slowly(number: int, accepted: Accepted | None) -> Worker:
        worker = await start(number, accepted)
        if number > 1:
            await may_start.wait()
        return worker

    supervisor = Supervisor(2, start_slowly, Accepted([sys.executable], "as at the start"), silence=60, grace=0)
    async with AsyncExitStack() as stack:
        starting = asyncio.create_task(stack.enter_async_context(supervisor.running()), name="start-workers")
        await until(lambda: len(start.made) == 2, seconds=STARTED)
        reload = asyncio.create_task(supervisor.reload(), name="reload")
        await until(lambda: settings_of(supervisor) == ["edited"], seconds=STARTED)
        may_start.set()
        await starting
        await reload
        assert settings_of(supervisor) == ["edited", "edited"]


async def test_a_worker_that_starts_while_a_reload_waits_for_another_that_then_fails_reads_the_configuration() -> None:
    start, may_fail = Starts(), asyncio.Event()

    async def start_or_fail(number: int, accepted: Accepted | None) -> Worker:
        worker = await start(number, accepted)
        if number == 2 and len(start.made) > 2:
            await may_fail.wait()
            worker.kill()
        return worker

    supervisor = Supervisor(2, start_or_fail, Accepted([sys.executable], "as at the start"), silence=60, grace=0)
    async with supervisor.running():
        first, second = supervisor.ready()
        second.kill()
        await until(lambda: len(start.made) == 3, seconds=STARTED)
        first.kill()
        await first.ended.wait()
        reload = asyncio.create_task(supervisor.reload(), name="reload")
        await until(supervisor.ready, seconds=STARTED)
        may_fail.set()
        await reload
        given = start.given[3]
        assert given is not None
        assert given.settings is None


async def test_a_worker_that_is_stuck_at_a_reload_is_counted_and_its_successor_reads_the_configuration() -> None:
    given: list[Accepted | None] = []

    async def start(number: int, accepted: Accepted | None) -> Worker:
        given.append(accepted)
        return await run("-IS", "-c", STUCK).start(number, Accepted([sys.executable], ""), [])

    supervisor = supervisor_of(start)
    async with supervisor.running():
        (worker,) = supervisor.ready()
        await supervisor.reload()
        await until(lambda: supervisor.restarts and supervisor.ready(), seconds=STARTED)
        assert supervisor.stuck == 1
        assert time.time() - supervisor.stuck_at < LIMIT
        assert worker.outcome() == "exit code 70: its event loop was stuck"
        assert supervisor.ready() != [worker]
        assert [accepted.settings for accepted in given if accepted is not None] == ["as at the start", None]


async def test_a_reload_between_two_replacements_of_a_roll_is_not_undone_by_the_later_ones() -> None:
    """The admin port reloads while the first worker's predecessor drains."""
    start, accepted = Starts(takes=3600), Accepted([sys.executable], "as at the start")
    supervisor = Supervisor(2, start, accepted, silence=60, grace=0, kill_after=3600)
    async with supervisor.running(), background("roll", supervisor.roll()):
        await until(lambda: start.made[0].is_stopping, seconds=STARTED)
        for worker in supervisor.ready():
            await worker.reload(STARTED)
        start.made[0].kill()
        await until(lambda: len(start.given) == 4, seconds=STARTED)
        *_, first, second = start.given
        assert first is None
        assert second is not None
        assert second.settings == "edited"


async def test_a_roll_that_fails_in_a_way_that_nobody_foresaw_is_logged_and_the_next_one_works(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The task of orders would end with the error, and obey no signal any more."""
    start, errors = Starts(), [None, RuntimeError("Symlink loop from '/opt/image-gateway'"), None]

    async def start_or_fail(number: int, accepted: Accepted | None) -> Worker:
        if (error := errors.pop(0)) is not None:
            raise error
        return await start(number, accepted)

    supervisor = supervisor_of(start_or_fail)
    async with supervisor.running():
        await supervisor.roll()
        assert "workers are not replaced any further: Symlink loop from '/opt/image-gateway'" in caplog.messages
        assert supervisor.ready() == start.made
        await supervisor.roll()
        assert supervisor.ready() == start.made[1:]


async def test_a_new_worker_that_dies_while_its_predecessor_drains_is_replaced_at_once() -> None:
    start = Starts(takes=3600)
    made, supervisor = start.made, supervisor_of(start, kill_after=3600)
    async with supervisor.running(), background("roll", supervisor.roll()):
        await until(lambda: len(made) == 2 and made[0].is_stopping, seconds=STARTED)
        made[1].kill()
        await until(lambda: len(made) == 3 and made[2].is_ready, seconds=STARTED)
        assert not made[0].ended.is_set()


async def test_workers_that_cannot_start_are_started_at_growing_intervals_and_after_a_reload_from_the_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A reload may be what mends a configuration with which no worker starts any more."""
    given: list[Accepted | None] = []
    start = Starts()

    async def start_once(number: int, accepted: Accepted | None) -> Worker:
        given.append(accepted)
        if len(given) == 1 or (accepted is not None and accepted.settings is None):
            return await start(number, accepted)
        if len(given) == 2:
            raise RuntimeError("can't start new thread")
        return await run("-c", "exit(2)").start(number, accepted, [])

    supervisor = supervisor_of(start_once)
    async with supervisor.running():
        supervisor.ready()[0].kill()
        await until(lambda: len(given) == 4, seconds=STARTED)
        endings = [line.partition("reason=")[2] for line in caplog.messages if "starting another" in line]
        assert endings[:2] == ["signal SIGKILL delay=0.1", "can't start new thread delay=0.2"]
        assert endings[2] == "worker 1 ended before it was ready: exit code 2 delay=0.4"
        await supervisor.reload()
        await until(supervisor.ready, seconds=STARTED)
