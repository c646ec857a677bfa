"""Keeps N workers: starts them, replaces a worker that ends or hangs, reloads and rolls them in turn, drains all."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from typing import Final

from gateway.concurrency.background import background, first_of
from gateway.metrics.events import EventLog
from gateway.workers.worker import Accepted, Worker, WorkerFailed

logger = logging.getLogger(__name__)

StartWorker = Callable[[int, Accepted | None], Awaitable[Worker]]

_START_TIMEOUT: Final = 60.0  # seconds until a worker is ready, or has reloaded
_FIRST_DELAY: Final = 0.1  # seconds before an ended worker is replaced; twice as long each time
_LONGEST_DELAY: Final = 30.0
_LIVED_LONG: Final = 60.0  # seconds after which an end counts as the first one again
_LATELY: Final = 3.0  # seconds; a worker sends a sign of life every second
_LOOKS: Final = 0.25  # seconds between two looks at the signs of life
_KILL_AFTER: Final = 15.0  # seconds beyond the drain's own limit


@dataclass(slots=True)
class Slot:
    """A numbered place for one worker of the supervisor, and then for its successors. ``deaths``: ends in a row.

    ``current`` changes when the worker is replaced, which sets ``is_filled``.
    """

    number: int
    current: Worker | None = None
    is_filled: asyncio.Event = field(default_factory=asyncio.Event)
    deaths: int = 0
    replacing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(eq=False, repr=False, slots=True)
class Supervisor:
    """Keeps ``count`` worker processes running, which ``start_worker`` starts.

    When a worker dies, its successor gets the settings and the version that a worker accepted last. So neither an edit
    of the configuration nor a new version takes effect by a crash.

    first: what the first workers get.
    silence: a worker that gives no sign of life for so many seconds is killed.
    grace: seconds that a drain may take, if the worker sends no longer limit.
    kill_after: how many seconds after that limit the worker is killed.

    restarts: the number of workers started in place of others that ended.
    stuck: the number of workers that ended because their event loop was stuck. stuck_at: when, in Unix seconds.
    """

    count: InitVar[int]
    start_worker: StartWorker
    first: Accepted
    _: KW_ONLY
    silence: float
    grace: float
    kill_after: float = _KILL_AFTER
    slots: Sequence[Slot] = field(init=False)
    restarts: int = field(default=0, init=False)
    stuck: int = field(default=0, init=False)
    stuck_at: float = field(default=float("-inf"), init=False)
    events: EventLog = field(default_factory=EventLog, init=False)
    is_draining: bool = field(default=False, init=False)
    _is_reload_due: bool = field(default=False, init=False)
    _workers: set[Worker] = field(default_factory=set, init=False)
    _is_rolling: bool = field(default=False, init=False)
    _leaving: Worker | None = field(default=None, init=False)  # it drains, and another worker has its place

    def __post_init__(self, count: int) -> None:
        self.slots = [Slot(number) for number in range(1, count + 1)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the workers during the block, and end all that are left at its end.

        Raises ``WorkerFailed`` if a worker ends before all are ready for the first time. The first worker starts alone,
        so that a mistake in the configuration is reported once.
        """
        try:
            first, *others = self.slots
            await self._start_first(first)
            try:
                async with asyncio.TaskGroup() as starting:
                    for slot in others:
                        starting.create_task(self._start_first(slot), name=f"start-worker-{slot.number}")
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            async with AsyncExitStack() as stack:
                for slot in (slot for slot in self.slots if slot.current is not None):
                    await stack.enter_async_context(background(f"keep-worker-{slot.number}", self._keep(slot)))
                await stack.enter_async_context(background("signs-of-life", self._kill_the_silent()))
                yield
        finally:
            for worker in self._workers:
                worker.kill()
            for worker in list(self._workers):
                await worker.ended.wait()

    def ready(self) -> list[Worker]:
        """Return the workers that serve, by number."""
        return [slot.current for slot in self.slots if slot.current is not None and slot.current.is_ready]

    def answering(self) -> list[Worker]:
        """Return the workers that serve and have shown life lately. A hanging worker would keep its caller waiting."""
        return [worker for worker in self.ready() if worker.silence() < _LATELY]

    def by_changes(self) -> list[Worker]:
        """Return the workers that list changes for nginx, the one to ask first.

        It heard of a change last: it may have given nginx the old image until then. During a roll it ends last: when
        nginx hears a worker with other settings, it forgets everything, and none may answer by the old ones after that.
        """
        last_first = self.answering()[::-1]
        if not self._is_rolling:
            return sorted(last_first, key=lambda worker: worker.heard_at, reverse=True)
        leaving = self._leaving
        return last_first if leaving is None or leaving.ended.is_set() else [leaving, *last_first]

    def shows_life(self) -> bool:
        """Return whether any worker has shown life lately."""
        return any(slot.current is not None and slot.current.silence() < self.silence for slot in self.slots)

    async def in_turn(self) -> AsyncGenerator[Worker, None]:
        """Yield each worker that serves, one after another. The worker that was yielded is not replaced meanwhile.

        A worker that starts meanwhile comes last: it may have the earlier settings.
        """
        left, skipped = list[Slot](), list(self.slots)
        while len(skipped) != len(left):  # workers may have started while others were reached
            left, skipped = skipped, []
            for slot in left:
                async with slot.replacing:
                    if (worker := slot.current) is not None and worker.is_ready:
                        yield worker
                    if worker is None or not worker.is_ready:
                        skipped.append(slot)

    async def reload(self) -> None:
        """Make one worker after another reload the configuration. Failures are logged."""
        self._is_reload_due = True  # a worker whose start begins from now on reads the configuration
        async with aclosing(self.in_turn()) as workers:
            async for worker in workers:
                try:
                    await worker.reload(_START_TIMEOUT)
                    self._is_reload_due = False  # the next ones get what this worker has accepted
                except WorkerFailed as error:
                    logger.error("reload: %s", error)  # noqa: TRY400 - the message says it all

    async def roll(self) -> None:
        """Replace one worker after another. Each new worker is ready before the old worker drains.

        The first new worker starts the version to which the link leads now, and reads the configuration. The others
        get what new workers have accepted last: the admin port may reload in between. If one does not become ready,
        that is logged, and the old worker goes on.
        """
        self._is_rolling = True
        replaced: list[Worker] = []
        try:
            for slot in self.slots:
                async with slot.replacing:
                    old = slot.current
                    replaced.append(await self._fill(slot, _last_accepted_by(replaced)))
                if old is not None:
                    if not old.ended.is_set():
                        self._leaving = old
                        old.stop()
                        await self._until_ended([old])
                    self._workers.discard(old)
        except Exception as error:  # noqa: BLE001 - the task must survive, or no order would be obeyed any more
            logger.error("workers are not replaced any further: %s", error)  # noqa: TRY400 - the message says it all
            return
        finally:
            self._is_rolling = False
        versions = {slot.current.version for slot in self.slots if slot.current is not None}
        self.events.add("workers_replaced", version=", ".join(sorted(versions)))
        logger.info("all workers are replaced: version=%s", ",".join(sorted(versions)))

    async def drain(self, force_stop: asyncio.Event) -> None:
        """Let all workers drain and end. ``force_stop`` ends the drain."""
        self.is_draining = True
        for worker in self._workers:
            worker.stop()
        async with background("force-stop", self._force_stop(force_stop)):
            await self._until_ended(list(self._workers))

    async def _force_stop(self, force_stop: asyncio.Event) -> None:
        await force_stop.wait()
        for worker in self._workers:
            worker.force_stop()
        await asyncio.sleep(self.kill_after)
        for worker in self._workers:
            worker.kill()

    async def _until_ended(self, workers: list[Worker]) -> None:
        """Wait until the workers have ended. Kill a worker whose drain takes too long."""
        since = time.monotonic()
        for worker in workers:
            while not worker.ended.is_set():
                # The worker sends its own limit, which a reload may have changed, when it begins to drain.
                limit = max(self.grace, worker.grace) + self.kill_after
                if (left := since + limit - time.monotonic()) <= 0:
                    logger.error("worker did not end, killing it: worker=%s", worker.number)
                    worker.kill()
                    await worker.ended.wait()
                    break
                await first_of(worker.ended, timeout=left)

    async def _start_first(self, slot: Slot) -> None:
        async with slot.replacing:  # a reload waits for it: the admin port is open
            try:
                await self._fill(slot, self.first)
            except WorkerFailed:
                if not self.is_draining:  # in a drain, the other workers must not fail for it
                    raise

    async def _fill(self, slot: Slot, accepted: Accepted | None) -> Worker:
        """Start a worker for ``slot``. It is the current worker once it is ready. Raises ``WorkerFailed``."""
        self._refuse_in_drain()
        worker = await self.start_worker(slot.number, accepted)
        self._workers.add(worker)
        try:
            self._refuse_in_drain()  # which may have begun meanwhile: nobody would stop this worker
            await worker.until_ready(_START_TIMEOUT)
        except BaseException:
            worker.kill()
            await worker.ended.wait()
            self._workers.discard(worker)
            raise
        slot.current = worker
        slot.is_filled.set()
        if accepted is None or accepted.settings is None:  # it has read the configuration
            self._is_reload_due = False
        logger.info("worker is ready: worker=%s version=%s pid=%s", slot.number, worker.version, worker.process.pid)
        return worker

    def _last_accepted(self) -> Accepted:
        """Return what a worker, running or ended, has accepted last. Return it without settings if a reload is due."""
        workers = [slot.current for slot in self.slots if slot.current is not None]
        latest = _last_accepted_by(workers) or self.first
        return replace(latest, settings=None) if self._is_reload_due else latest

    def _refuse_in_drain(self) -> None:
        if self.is_draining:
            raise WorkerFailed("the workers drain", 0)

    async def _keep(self, slot: Slot) -> None:
        """Replace the slot's worker whenever it ends without an order."""
        while True:
            slot.is_filled.clear()
            worker = slot.current
            assert worker is not None, "running() fills the slots first"  # noqa: S101
            await first_of(worker.ended, slot.is_filled)
            if slot.current is not worker:
                continue  # it was replaced, and ``roll`` waits for its end
            self._workers.discard(worker)
            if worker.was_stuck():
                self.stuck += 1
                self.stuck_at = time.time()
            if self.is_draining:
                return
            if time.monotonic() - worker.started > _LIVED_LONG:
                slot.deaths = 0
            await self._replace(slot, worker)

    async def _replace(self, slot: Slot, ended: Worker) -> None:
        reason = ended.outcome()
        while slot.current is ended and not self.is_draining:
            delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(slot.deaths, 16))
            slot.deaths += 1
            self.restarts += 1
            self.events.add("worker_ended", worker=slot.number, reason=reason)
            logger.error("worker ended, starting another: worker=%s reason=%s delay=%g", slot.number, reason, delay)
            await asyncio.sleep(delay)
            async with slot.replacing:
                if slot.current is not ended or self.is_draining:
                    return
                try:
                    await self._fill(slot, replace(self._last_accepted(), ended=reason))
                except Exception as error:  # noqa: BLE001 - the task must survive, or no worker would be started any more
                    reason = str(error)

    async def _kill_the_silent(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(min(_LOOKS, self.silence))
            before, looked = looked, time.monotonic()
            if looked - before > self.silence / 2:
                # This process was paused, and so were the workers, as in a paused container: their time begins again.
                for worker in self._workers:
                    worker.last_sign = looked if worker.last_sign is not None else None
            for worker in self._workers:
                if worker.last_sign is not None and worker.silence() > self.silence and not worker.ended.is_set():
                    silent = worker.number, worker.silence()
                    logger.error("worker gives no sign of life, killing it: worker=%s seconds=%.1f", *silent)
                    worker.kill()


def _last_accepted_by(workers: Iterable[Worker]) -> Accepted | None:
    known = [worker.accepted for worker in workers if worker.accepted is not None]
    return max(known, key=lambda accepted: accepted.at, default=None)
