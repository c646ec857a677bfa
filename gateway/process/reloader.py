"""Reloads the configuration of a running process: read it, refuse or apply it as a whole, report the changed keys.

A reload has two phases. The first may fail and may take long: a thread reads the sources, and each part prepares
its change. The second awaits nothing, so each request sees either all changes or none: each part applies its
prepared change, and the settings in use are replaced.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from gateway.concurrency.daemon_thread import in_daemon_thread
from gateway.metrics.events import EventLog
from gateway.metrics.registry import Registry
from gateway.settings import Live

logger = logging.getLogger(__name__)

_MOST_NAMED: Final = 5  # changed keys in an event
_READ_TIMEOUT: Final = 10.0  # seconds; a network file system may hang

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


class ReloadMetrics:
    """The outcome of the last reload, in metrics and among the ``events``."""

    def __init__(self, registry: Registry, events: EventLog) -> None:
        self.events = events
        self.config_last_reload_successful = registry.gauge(
            "config_last_reload_successful", "1 if the last reload of the configuration was accepted, else 0."
        )
        self.config_last_reload_success = registry.gauge(
            "config_last_reload_success_timestamp_seconds",
            "Unix time of the last reload of the configuration that was accepted; at first, of the start.",
        )


class ReloadRefused(Exception):
    """The reload changed nothing. ``problems`` has a line for each reason, which names a key and no value."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ReloadNotPossible(Exception):
    """Nothing was read: this process has no configuration to reload, or it drains."""


async def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """New settings in preparation, which a part is ready to use.

    ``apply`` cannot fail and awaits nothing. Then ``close`` closes the replaced objects. If another part refuses the
    configuration, ``discard`` is called instead of both.
    """

    apply: Callable[[], None]
    close: Callable[[], Awaitable[None]] = _nothing
    discard: Callable[[], Awaitable[None]] = _nothing


class Part(Protocol[S_contra]):
    """A part of the gateway that opens something for new settings, or may refuse them."""

    async def prepare(self, old: S_contra, new: S_contra, /) -> Prepared:
        """Prepare to use ``new`` in place of the settings in use. Raises ``ReloadRefused``."""


@dataclass(frozen=True, slots=True)
class Difference(Generic[S]):
    """The difference between the settings in use and the settings read.

    settings: the new settings, with the old values of the keys that ``need_restart``.
    changed: the other keys that differ.
    """

    settings: S
    changed: Sequence[str]
    need_restart: Sequence[str]


class Sources(Generic[S]):
    """The sources of the settings.

    ``read`` is called in a thread, and raises ``ReloadRefused`` if the settings are not valid.
    """

    def __init__(self, read: Callable[[], S], timeout: float = _READ_TIMEOUT) -> None:
        self._read = read
        self._timeout = timeout
        self._reading: asyncio.Future[S] | None = None

    async def read(self) -> S:
        """Read the sources. A read that hangs keeps its thread, and no other read starts meanwhile."""
        if self._reading is not None:
            raise ReloadRefused("an earlier read of the configuration has not ended")
        self._reading = reading = in_daemon_thread(self._read, "read-configuration")
        reading.add_done_callback(self._ended)
        await asyncio.wait({reading}, timeout=self._timeout)
        if not reading.done():
            raise ReloadRefused(f"the configuration cannot be read within {self._timeout:g} s")
        return reading.result()

    def _ended(self, reading: "asyncio.Future[S]") -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # otherwise asyncio warns if no reload waits any more


class Reloader(Generic[S]):
    """Replaces the settings in use. ``need_restart`` are the keys that the last reload could not change.

    live: the settings in use.
    sources: what the settings are read from. None: there are no sources.
    compare: returns the difference between the settings in use and the settings read. Raises ``ReloadRefused`` if the
    two cannot be mixed.
    is_draining: returns whether the process is draining.
    """

    def __init__(
        self,
        live: Live[S],
        sources: Sources[S] | None,
        compare: Callable[[S, S], Difference[S]],
        parts: Sequence[Part[S]],
        metrics: ReloadMetrics,
        *,
        is_draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self.live = live
        self.need_restart: Sequence[str] = ()
        self._sources = sources
        self._compare = compare
        self._metrics = metrics
        self._is_draining = is_draining
        self._parts = parts
        self._lock = asyncio.Lock()
        self._running: set[asyncio.Task[Difference[S]]] = set()
        self._count(is_success=True)

    async def reload(self) -> Difference[S]:
        """Reload, after a running reload has ended. Raises ``ReloadRefused`` or ``ReloadNotPossible``. Both are logged.

        A reload that has begun continues if its caller is cancelled.
        """
        task = asyncio.create_task(self._reload_alone(), name="reload")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: "asyncio.Task[Difference[S]]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # it was logged; without a caller nothing else retrieves it

    async def _reload_alone(self) -> Difference[S]:
        async with self._lock:
            if self._sources is None:
                raise ReloadNotPossible("this process has no configuration file")
            if self._is_draining():
                logger.warning("the configuration is not reloaded: the gateway is draining")
                raise ReloadNotPossible("the gateway is draining")
            try:
                result = await self._reload(self._sources)
            except ReloadRefused as error:
                self._count(is_success=False)
                for problem in error.problems:
                    logger.error("the configuration is refused, the old one stays: %s", problem)  # noqa: TRY400
                raise
            except Exception:  # any error of a file or a source of keys: counted and logged, then raised
                self._count(is_success=False)
                logger.exception("the reload failed, the old configuration stays")
                raise
            self._count(is_success=True)
        self._metrics.events.add("reloaded", keys=", ".join(result.changed[:_MOST_NAMED]) or "-")
        logger.info("configuration reloaded: changed=%s", ",".join(result.changed) or "nothing")
        if result.need_restart:
            logger.warning("these keys have changed and need a restart: keys=%s", ",".join(result.need_restart))
        return result

    async def finish(self) -> None:
        """Wait for a running reload, so that the objects it opens are closed like all others."""
        async with self._lock:
            self._sources = None

    async def _reload(self, sources: Sources[S]) -> Difference[S]:
        difference = self._compare(self.live.value, await sources.read())
        async with AsyncExitStack() as prepared:
            changes = []
            for part in self._parts:
                change = await part.prepare(self.live.value, difference.settings)
                prepared.push_async_callback(change.discard)
                changes.append(change)
            prepared.pop_all()
        for change in changes:
            change.apply()
        self.need_restart = difference.need_restart
        self.live.replace(difference.settings)
        for change in changes:
            try:
                await change.close()
            except Exception:  # nothing uses it any more, and the new configuration is in use
                logger.exception("what the reload has replaced could not be closed")
        return difference

    def _count(self, *, is_success: bool) -> None:
        self._metrics.config_last_reload_successful.set(is_success)
        if is_success:
            self._metrics.config_last_reload_success.set(time.time())
        else:
            self._metrics.events.add("reload_was_refused")
