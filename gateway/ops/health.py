"""Can the gateway serve, and what of it would fail?"""

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.errors import DependencyDown, GatewayError
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]

# Either of them is enough to find images; without both, nothing new can be served.
_STORES = frozenset({"redis", "postgres"})


class Readiness(enum.StrEnum):
    """What ``/readyz`` says first."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"


@dataclass(frozen=True, slots=True)
class Report:
    """``checks`` maps each dependency to ``ok`` or ``down``."""

    status: Readiness
    checks: Mapping[str, str]


class Health:
    """Looks at the dependencies, at most once in ``keep`` seconds however often it is asked.

    A probe returns when its dependency answers and raises otherwise; it may take ``timeout`` seconds. One that raises
    what nobody foresaw is down, too, and the log hears of it, once until the dependency answers again. The gateway
    serves while one of the two stores answers: from the cache, or by signing afresh. Draining, it is not ready.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        metrics: Metrics,
        *,
        timeout: float = 2.0,
        keep: float = 1.0,
        look_every: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = probes
        self._metrics = metrics
        self._timeout = timeout
        self._keep = keep
        self._look_every = look_every
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._checked_at = float("-inf")
        self._draining = False

    def drain(self) -> None:
        """Say from now on that no new work should be sent here."""
        self._draining = True

    async def report(self) -> Report:
        """The state now, or as it was ``keep`` seconds ago at most."""
        async with self._lock:
            if self._monotonic() - self._checked_at >= self._keep:
                self._checks = await self._look()
                self._checked_at = self._monotonic()
        return Report(self._status(), self._checks)

    async def watch(self) -> None:
        """Look now and then, so that the metric is true where nobody asks; until cancelled."""
        while True:
            await asyncio.sleep(self._look_every)
            await self.report()

    def _status(self) -> Readiness:
        down = {name for name, state in self._checks.items() if state == "down"}
        if self._draining or _STORES & self._probes.keys() <= down:
            return Readiness.NOT_READY
        return Readiness.DEGRADED if down else Readiness.READY

    async def _look(self) -> dict[str, str]:
        states = await asyncio.gather(*(self._answers(name, probe) for name, probe in self._probes.items()))
        for name, is_up in zip(self._probes, states, strict=True):
            self._metrics.dependency_up.labels(dependency=name).set(is_up)
        return {name: "ok" if is_up else "down" for name, is_up in zip(self._probes, states, strict=True)}

    async def _answers(self, name: str, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                await probe()
        except (DependencyDown, GatewayError, TimeoutError) as error:
            if self._checks.get(name) != "down":
                reason = str(error) or f"no answer within {self._timeout:g} s"
                logger.warning("dependency is down: dependency=%s reason=%s", name, reason)
            return False
        except Exception:  # the metric, /readyz and the other dependencies must not end with it
            if self._checks.get(name) != "down":
                logger.exception("probe failed: dependency=%s", name)
            return False
        return True
