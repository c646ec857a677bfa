"""An event loop in virtual time that explores: a seed chooses the order of what is ready.

Time passes only when nothing is ready. Steps of tasks and timers of one instant run in any order. Other callbacks
(``call_soon``) keep their own order, which is a promise that transports rely on.

PyPI has simloop and simloom (Python 3.12 and later), detangle and looptime. None of them has processes that are paused
and killed, with clocks of their own, and the loop is the smallest part of a simulation.
"""

import asyncio
import heapq
from asyncio import Handle, Task, TimerHandle
from asyncio.base_events import BaseEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final

_INSTANT: Final = 1e-9  # seconds; timers that are due within it are of one instant
# Seconds that a step takes: a rest of a time that is too small to be added to the clock passes all the same.
_STEP: Final = 1e-9
_START: Final = 1_000.0  # seconds on the clock of the loop when a run begins


class WaitsForEver(AssertionError):
    """Nothing is ready and no timer is set, but the run has not ended."""


class Process:
    """A process of the simulation: its tasks, its timers, and the messages to it.

    A paused process runs nothing, and its clocks go on. A dead one never runs again, as after SIGKILL.
    """

    def __init__(self, loop: "ExploringLoop", name: str) -> None:
        self.name = name
        self.is_paused = False
        self.is_dead = False
        self._loop = loop
        self._held: list[Handle] = []
        self.context: Context = copy_context()
        self.context.run(_PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> "Task[Any]":
        """Run ``work`` as a task of the process."""
        task = self._loop.create_task(work, name=f"{self.name}: {name}", context=self.context.copy())
        task.add_done_callback(self._loop.note_end)
        return task

    def pause(self) -> None:
        """Stop running, as after SIGSTOP."""
        self.is_paused = True

    def resume(self) -> None:
        """Run again all that became ready meanwhile."""
        if self.is_paused:
            self.is_paused = False
            held, self._held = self._held, []
            self._loop.make_ready(held)

    def kill(self) -> None:
        """Never run again."""
        self.is_dead = True
        self._held.clear()

    def hold(self, handle: Handle) -> None:
        """Keep what became ready during a pause."""
        if not self.is_dead:
            self._held.append(handle)


# The process whose task or timer runs. None: the simulation's own.
_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class ExploringLoop(BaseEventLoop):
    """``steps``: how many callbacks have run."""

    _ready: "deque[Handle]"

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now = _START
        self._timers: list[tuple[float, int, TimerHandle]] = []  # a heap
        self._timers_made = 0
        self._tasks: list[Task[Any]] = []  # all of them: a task that is collected would still run its ``finally``
        self._has_ended = False
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def create_task(self, coro: Any, **options: Any) -> "Task[Any]":
        """Create a task that may be left behind when its process is killed."""
        task: Task[Any] = super().create_task(coro, **options)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def _note_error(self, _loop: object, context: dict[str, Any]) -> None:
        # Of a process that has died, nobody retrieves anything.
        if not str(context["message"]).startswith("Future exception was never retrieved"):
            self.errors.append(context)

    def note_end(self, task: "Task[Any]") -> None:
        """Note the error of a task that nobody awaits."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append({"message": repr(error), "task": task.get_name()})

    def make_ready(self, handles: list[Handle]) -> None:
        """Run these in one of the next steps."""
        self._ready.extend(handles)

    def next_timer(self) -> float | None:
        """Return when any of the next timers is due: whatever happens then, happens together with it."""
        if not self._timers:
            return None
        return self._timers[self._random.randrange(min(8, len(self._timers)))][0]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        """Call at a time. Tuples in a heap compare faster than timers, which are most of the work."""
        timer = TimerHandle(when, callback, args, self, context)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, timer))
        return timer

    def call_as(self, process: Process, when: float, callback: Callable[..., object], *args: Any) -> TimerHandle:
        """Call at a time in another process."""
        return self.call_at(when, callback, *args, context=process.context)

    def _run_once(self) -> None:
        if self.errors:
            raise AssertionError(str(self.errors[0]))
        ready, timers = self._ready, self._timers
        if not ready:
            if not timers:
                raise WaitsForEver("nothing is ready and no timer is set")
            self._now = max(self._now, timers[0][0])
        due = self._now + _INSTANT
        while timers and timers[0][0] <= due:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                ready.append(timer)
        if ready:
            handle = self._choose(ready)
            if handle.cancelled():
                return
            process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
            if process is not None and (process.is_paused or process.is_dead):
                process.hold(handle)
            else:
                self.steps += 1
                self._now += _STEP
                handle._run()

    def _choose(self, ready: "deque[Handle]") -> Handle:
        count = len(ready)
        if count == 1 or self._random.random() < 0.5:
            return ready.popleft()
        place = int(self._random.random() * count)
        handle = ready[place]
        if not _may_move(handle):
            place = next(place for place, other in enumerate(ready) if not _may_move(other))
            handle = ready[place]
        del ready[place]
        return handle

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """The heap keeps cancelled timers until they are due."""

    def end(self) -> None:
        """End the run: what is left of it never runs."""
        self._has_ended = True
        for task in self._tasks:
            if not task.done():
                with suppress(RuntimeError):  # a ``finally`` that awaits
                    task.get_coro().close()
        self._tasks.clear()
        self._timers.clear()
        self._ready.clear()

    def is_closed(self) -> bool:
        """Return whether the run has ended."""
        return self._has_ended

    def _check_closed(self) -> None:
        """Ignore what a ``finally`` still does at the end."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is no thread."""


def _may_move(handle: Handle) -> bool:
    """Return whether this is a timer or a step of a task, whose order is not promised."""
    if isinstance(handle, TimerHandle):
        return True
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)  # type: ignore[attr-defined]
