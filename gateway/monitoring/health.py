"""Readiness of the gateway, and the state of each dependency."""

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from gateway.errors import DependencyDegraded, DependencyDown, GatewayError
from gateway.monitoring.metrics import MonitoringMetrics

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]

# Either store is enough to find an image; without both, only images cached in memory can be served.
_STORES = frozenset({"redis", "postgres"})
_MAX_AGE = 1.0  # seconds for which the states of the last probes count


class Readiness(enum.StrEnum):
    """The gateway's readiness for requests: the ``status`` of ``/readyz``."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"


class State(enum.StrEnum):
    """The state of a dependency, such as Postgres or Redis."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of ``/readyz``: ``checks`` has each dependency's state, ``reasons`` why a dependency is not ``ok``."""

    status: Readiness
    checks: Mapping[str, State]
    reasons: Mapping[str, str]


@dataclass(slots=True)
class Health:
    """Probes the gateway's dependencies (Postgres, Redis, COS), and derives the gateway's readiness.

    Dependencies are probed together, each within ``timeout`` seconds. A probe does what requests do. It returns if that
    worked. It raises ``DependencyDegraded`` with the reason if the dependency refuses a part of it, and another error
    if requests cannot use the dependency at all. An unexpected exception also counts as down, and is logged once until
    the dependency answers again.

    The gateway is ready while one of the two stores is not down, since it serves from the cache or signs URLs. While
    both are down, it is degraded if ``serves_without_stores`` returns true. It is not ready while Postgres is down if
    ``needs_rows`` returns true, while it drains, and before ``may_serve`` returns true.

    probes: returns the probe of each dependency, by the settings of now.
    seconds: how long the last probe of each dependency took.
    """

    probes: Callable[[], Mapping[str, Probe]]
    metrics: MonitoringMetrics
    _: KW_ONLY
    may_serve: Callable[[], bool] = lambda: True
    serves_without_stores: Callable[[], bool] = lambda: False
    needs_rows: Callable[[], bool] = lambda: False
    timeout: float = 2.0
    interval: float = 10.0
    monotonic: Callable[[], float] = time.monotonic
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    is_draining: bool = field(default=False, init=False)
    _states: Mapping[str, State] = field(default_factory=dict, init=False)
    _reasons: Mapping[str, str] = field(default_factory=dict, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _checked_at: float = field(default=float("-inf"), init=False)

    def drain(self) -> None:
        """Report ``not_ready`` from now on: the gateway finishes the requests in flight and stops."""
        self.is_draining = True

    async def report(self) -> Report:
        """Return the state, at most a second old, of all dependencies that there are now."""
        async with self._lock:
            is_of_now = self._states.keys() == self.probes().keys()  # a reload may change which there are
            if not is_of_now or self.monotonic() - self._checked_at >= _MAX_AGE:
                await self.probe_all()
                self._checked_at = self.monotonic()
        return self.latest

    @property
    def latest(self) -> Report:
        """The state at the last probe. Before the first probe, the state has no checks."""
        return Report(self._status(), self._states, self._reasons)

    def seconds_of_stores(self) -> float:
        """Return how long the last probes of Redis and Postgres took together, 0 before the first ones."""
        return sum(self.seconds.get(name, 0.0) for name in _STORES)

    async def watch(self) -> None:
        """Probe every ``interval`` seconds until cancelled, so that the metric is current without requests."""
        while True:
            await asyncio.sleep(self.interval)
            await self.report()

    def _status(self) -> Readiness:
        down = {name for name, state in self._states.items() if state is State.DOWN}
        if self.is_draining or not self.may_serve():
            return Readiness.NOT_READY
        if _STORES & self.probes().keys() <= down and not self.serves_without_stores():
            return Readiness.NOT_READY
        if "postgres" in down and self.needs_rows():
            return Readiness.NOT_READY
        return Readiness.READY if set(self._states.values()) <= {State.OK} else Readiness.DEGRADED

    async def probe_all(self) -> None:
        probes = self.probes()
        states = await asyncio.gather(*(self._try(name, probe) for name, probe in probes.items()))
        found = dict(zip(probes, states, strict=True))
        for name in self._states.keys() - found.keys():
            self.metrics.dependency_up.remove(name)
        for name, (state, _) in found.items():
            self.metrics.dependency_up.labels(dependency=name).set(state is State.OK)
        self._states = {name: state for name, (state, _) in found.items()}
        self._reasons = {name: reason for name, (_, reason) in found.items() if reason}

    async def _try(self, name: str, probe: Probe) -> tuple[State, str]:
        """Return the state and its reason, which is empty for ``ok``."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                await probe()
        except (DependencyDown, GatewayError, TimeoutError) as error:
            state = State.DEGRADED if isinstance(error, DependencyDegraded) else State.DOWN
            reason = str(error) or f"no answer within {self.timeout:g} s"
            if self._states.get(name) is not state:
                logger.warning("dependency is %s: dependency=%s reason=%s", state, name, reason)
            return state, reason
        except Exception:  # a broken probe must break neither /readyz nor the other probes
            if self._states.get(name) is not State.DOWN:
                logger.exception("probe failed: dependency=%s", name)
            return State.DOWN, "the probe failed: the log has the error"
        finally:
            self.seconds[name] = time.monotonic() - started
        return State.OK, ""
