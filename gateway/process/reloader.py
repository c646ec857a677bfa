"""Reloads the configuration of a running process: read it, refuse or apply it as a whole, report the changed keys.

A reload has two phases. The first may fail and may take long: a thread reads the sources, and each part prepares
its change. The second awaits nothing, so each request sees either all changes or none: each part applies its
prepared change, and the settings in use are replaced. Then each part closes what nobody uses any more.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Generic, Self, TypeAlias, TypeVar

from gateway.concurrency.background import in_daemon_thread
from gateway.errors import ConfigurationRefused, ReloadImpossible
from gateway.metrics.events import EventLog
from gateway.metrics.registry import Registry
from gateway.settings import Live, Settings
from gateway.settings.error_messages import SettingsError
from gateway.settings.reload_difference import SettingsDifference, difference

logger = logging.getLogger(__name__)

_MOST_NAMED: Final = 5  # changed keys in an event
_READ_TIMEOUT: Final = 10.0  # seconds; a network file system may hang

T = TypeVar("T")


class ReloadMetrics:
    """The metrics of the last reload of the configuration, and the ``events`` for the console that name each reload."""

    def __init__(self, registry: Registry, events: EventLog) -> None:
        self.events = events
        self.config_last_reload_successful = registry.gauge(
            "config_last_reload_successful", "1 if the last reload of the configuration was accepted, else 0."
        )
        self.config_last_reload_success = registry.gauge(
            "config_last_reload_success_timestamp_seconds",
            "Unix time of the last reload of the configuration that was accepted; at first, of the start.",
        )


# Prepares a part of the gateway for new settings, given the old ones. Raises ``ConfigurationRefused``. Yields a
# function that applies the change: it cannot fail, awaits nothing, and is not called if another part refuses. On exit,
# closes the replaced objects, or the new ones if the change was not applied.
Prepare: TypeAlias = Callable[[Settings, Settings], AbstractAsyncContextManager[Callable[[], None]]]


@dataclass(eq=False, slots=True)
class Replaceable(Generic[T]):
    """An open ``value``, such as a session with its tasks, that a reload can replace while it is in use."""

    value: T
    _opened: AsyncExitStack

    @classmethod
    async def open(cls, opening: AbstractAsyncContextManager[T]) -> Self:
        opened = AsyncExitStack()
        return cls(await opened.enter_async_context(opening), opened)

    def swap(self, successor: Self) -> None:
        """Hold the value of ``successor``, which then holds the replaced value."""
        self.value, successor.value = successor.value, self.value
        self._opened, successor._opened = successor._opened, self._opened

    async def aclose(self) -> None:
        await self._opened.aclose()


@dataclass(eq=False, repr=False, slots=True)
class Reloader:
    """Reloads the configuration of this process. ``need_restart``: the keys that the last reload could not change.

    read: reads the sources again, in a thread. Raises ``SettingsError`` or ``OSError``. None: there are no sources.
    prepare: the changes of parts, in the order in which they are applied. Then the settings in use are replaced.
    """

    live: Live[Settings]
    read: Callable[[], Settings] | None
    prepare: Sequence[Prepare]
    metrics: ReloadMetrics
    _: KW_ONLY
    is_draining: Callable[[], bool] = lambda: False
    read_timeout: float = _READ_TIMEOUT
    need_restart: Sequence[str] = field(default=(), init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _reading: "asyncio.Future[Settings] | None" = field(default=None, init=False)
    _newest: "asyncio.Task[SettingsDifference] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._count(is_success=True)

    async def reload(self) -> SettingsDifference:
        """Reload, after a running reload has ended. Raises ``ConfigurationRefused``, which is logged.

        Raises ``ReloadImpossible`` without a configuration file, and while the gateway drains. A reload that has begun
        continues if its caller is cancelled.
        """
        self._newest = asyncio.create_task(self._reload_alone(), name="reload")
        return await asyncio.shield(self._newest)

    async def _reload_alone(self) -> SettingsDifference:
        async with self._lock:
            if self.read is None:
                raise ReloadImpossible("this process has no configuration file")
            if self.is_draining():
                logger.warning("the configuration is not reloaded: the gateway is draining")
                raise ReloadImpossible("the gateway is draining")
            try:
                result = await self._difference(self.read)
                await self._apply(result)
            except ConfigurationRefused as error:
                self._count(is_success=False)
                for problem in error.problems:
                    logger.error("the configuration is refused, the old one stays: %s", problem)  # noqa: TRY400
                raise
            except Exception:  # any error of a source of keys: counted and logged, then raised
                self._count(is_success=False)
                logger.exception("the reload failed, the old configuration stays")
                raise
            self._count(is_success=True)
        self.metrics.events.add("reloaded", keys=", ".join(result.changed[:_MOST_NAMED]) or "-")
        logger.info("configuration reloaded: changed=%s", ",".join(result.changed) or "nothing")
        if result.need_restart:
            logger.warning("these keys have changed and need a restart: keys=%s", ",".join(result.need_restart))
        return result

    async def finish(self) -> None:
        """Wait for a running reload, so that the objects it opens are closed like all others."""
        async with self._lock:
            self.read = None

    async def _difference(self, read: Callable[[], Settings]) -> SettingsDifference:
        """Read the sources. A read that hangs keeps its thread, and no other read starts meanwhile."""
        if self._reading is not None and not self._reading.done():
            raise ConfigurationRefused("an earlier read of the configuration has not ended")
        self._reading = reading = in_daemon_thread(read, "read-configuration")
        await asyncio.wait({reading}, timeout=self.read_timeout)
        if not reading.done():
            raise ConfigurationRefused(f"the configuration cannot be read within {self.read_timeout:g} s")
        try:
            return difference(self.live.value, reading.result())
        except SettingsError as error:
            raise ConfigurationRefused(*error.problems) from error
        except OSError as error:
            raise ConfigurationRefused(f"{error.filename}: {error.strerror or error}") from error

    async def _apply(self, result: SettingsDifference) -> None:
        is_applied = False
        try:
            async with AsyncExitStack() as prepared:
                old, new = self.live.value, result.settings
                changes = [await prepared.enter_async_context(prepare(old, new)) for prepare in self.prepare]
                for apply in changes:
                    apply()
                self.need_restart = result.need_restart
                self.live.replace(new)
                is_applied = True
        except Exception:
            if not is_applied:
                raise
            # Nothing uses it any more, and the new configuration is in use.
            logger.exception("what the reload has replaced could not be closed")

    def _count(self, *, is_success: bool) -> None:
        self.metrics.config_last_reload_successful.set(is_success)
        if is_success:
            self.metrics.config_last_reload_success.set(time.time())
        else:
            self.metrics.events.add("reload_was_refused")
