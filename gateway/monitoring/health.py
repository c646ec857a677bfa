"""Readiness of the gateway, and the state of each dependency."""

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gateway.errors import DependencyDown, GatewayError
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]

# Either store is enough to find an image; without both, only images cached in memory can be served.
_STORES = frozenset({"redis", "postgres"})


class Readiness(enum.StrEnum):
    """The ``status`` of ``/readyz``."""

    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not_ready"


@dataclass(frozen=True, slots=True)
class Report:
    """``checks`` maps each dependency to ``ok`` or ``down``."""

    status: Readiness
    checks: Mapping[str, str]


class Health:
    """Probes the dependencies, and keeps the result for ``max_age`` seconds.

    A probe returns if its dependency answers, and raises otherwise; it may take ``timeout`` seconds. An unexpected
    exception also counts as down, and is logged once until the dependency answers again. The gateway is ready while
    one of the two stores answers, since it serves from the cache or signs URLs; it is not ready while it drains.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        metrics: Metrics,
        *,
        timeout: float = 2.0,
        max_age: float = 1.0,
        interval: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = dict(probes)
        self._metrics = metrics
        self._timeout = timeout
        self._max_age = max_age
        self._interval = interval
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._checked_at = float("-inf")
        self._draining = False
        # By dependency: seconds of the last probe, and why the last one failed.
        self.seconds: dict[str, float] = {}
        self.reasons: dict[str, str] = {}

    @property
    def is_draining(self) -> bool:
        """Whether the gateway finishes the requests in flight and stops."""
        return self._draining

    def drain(self) -> None:
        """Report ``not_ready`` from now on."""
        self._draining = True

    def set_probe(self, name: str, probe: Probe | None) -> None:
        """Probe the dependency by ``probe`` from now on; None ends its probes."""
        if probe is not None:
            self._probes[name] = probe
        elif self._probes.pop(name, None) is not None:
            with suppress(KeyError):  # it was never probed
                self._metrics.dependency_up.remove(name)
        self._checked_at = float("-inf")

    async def report(self) -> Report:
        """Return the state, at most ``max_age`` seconds old."""
        async with self._lock:
            if self._monotonic() - self._checked_at >= self._max_age:
                self._checks = await self._probe_all()
                self._checked_at = self._monotonic()
        return Report(self._status(), self._checks)

    async def watch(self) -> None:
        """Probe every ``interval`` seconds until cancelled, so that the metric is current without requests."""
        while True:
            await asyncio.sleep(self._interval)
            await self.report()

    def _status(self) -> Readiness:
        down = {name for name, state in self._checks.items() if state == "down"}
        if self._draining or _STORES & self._probes.keys() <= down:
            return Readiness.NOT_READY
        return Readiness.DEGRADED if down else Readiness.READY

    async def _probe_all(self) -> dict[str, str]:
        probes = dict(self._probes)  # a reload may change them meanwhile
        states = await asyncio.gather(*(self._is_up(name, probe) for name, probe in probes.items()))
        found = {name: is_up for name, is_up in zip(probes, states, strict=True) if name in self._probes}
        for name, is_up in found.items():
            self._metrics.dependency_up.labels(dependency=name).set(is_up)
        return {name: "ok" if is_up else "down" for name, is_up in found.items()}

    async def _is_up(self, name: str, probe: Probe) -> bool:
        started = self._monotonic()
        self.reasons.pop(name, None)
        try:
            async with asyncio.timeout(self._timeout):
                await probe()
        except (DependencyDown, GatewayError, TimeoutError) as error:
            self.reasons[name] = reason = str(error) or f"no answer within {self._timeout:g} s"
            if self._checks.get(name) != "down":
                logger.warning("dependency is down: dependency=%s reason=%s", name, reason)
            return False
        except Exception:  # a broken probe must break neither /readyz nor the other probes
            if self._checks.get(name) != "down":
                logger.exception("probe failed: dependency=%s", name)
            return False
        finally:
            self.seconds[name] = self._monotonic() - started
        return True
