"""Readiness, and the state of each dependency."""

import asyncio
import time
from dataclasses import dataclass
from itertools import count

import pytest

from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable, DependencyDegraded, DependencyDown, OriginUnavailable
from gateway.monitoring.health import Health, Readiness
from gateway.service.metrics import Metrics
from tests.tier import Clock
from tests.waiting import until

READY, DEGRADED, NOT_READY = Readiness.READY, Readiness.DEGRADED, Readiness.NOT_READY


@dataclass
class Dependency:
    """A dependency that is up or down and counts its probes."""

    error: Exception | None = None
    hangs: bool = False
    probed: int = 0

    async def probe(self) -> None:
        """Answer, raise or hang."""
        self.probed += 1
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


def health(
    metrics: Metrics | None = None, clock: Clock | None = None, *, timeout: float = 60, **dependencies: Dependency
) -> Health:
    """Return a ``Health`` of these dependencies."""
    probes = {name: dependency.probe for name, dependency in dependencies.items()}
    return Health(probes, (metrics or Metrics()).monitoring, timeout=timeout, monotonic=clock or Clock())


def up(metrics: Metrics, dependency: str) -> float | None:
    """Return the value of the metric."""
    return metrics.registry.get_sample_value("image_gateway_dependency_up", {"dependency": dependency})


@pytest.mark.parametrize(
    ("down", "status"),
    [
        (set(), READY),
        ({"cos"}, DEGRADED),
        ({"redis"}, DEGRADED),
        ({"postgres"}, DEGRADED),
        ({"redis", "cos"}, DEGRADED),
        ({"redis", "postgres"}, NOT_READY),
        ({"redis", "postgres", "cos"}, NOT_READY),
    ],
)
async def test_one_of_the_two_stores_makes_the_gateway_ready(down: set[str], status: Readiness) -> None:
    errors = {"redis": DependencyDown("x"), "postgres": CatalogUnavailable("x"), "cos": OriginUnavailable("x")}
    probes = {name: Dependency(error if name in down else None).probe for name, error in errors.items()}
    report = await Health(probes, Metrics().monitoring).report()
    assert report.status is status
    assert report.checks == {name: "down" if name in down else "ok" for name in errors}


async def test_without_both_stores_the_gateway_is_degraded_while_it_serves_from_memory() -> None:
    serves, down = True, Dependency(DependencyDown())
    probes = {"redis": down.probe, "postgres": down.probe, "cos": Dependency().probe}
    probed = Health(probes, Metrics().monitoring, serves_without_stores=lambda: serves, monotonic=Clock())
    assert (await probed.report()).status is DEGRADED
    serves = False
    assert (await probed.report()).status is NOT_READY
    serves = True
    probed.drain()
    assert (await probed.report()).status is NOT_READY


async def test_without_a_url_cache_readiness_depends_on_postgres() -> None:
    up, down = Dependency(), Dependency(CatalogUnavailable())
    assert (await health(postgres=up, cos=up).report()).status is READY
    assert (await health(postgres=down, cos=up).report()).status is NOT_READY


async def test_a_dependency_that_refuses_a_part_is_degraded_with_its_reason_and_no_store_that_is_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    full = Dependency(DependencyDegraded("writes are refused: OOM"))
    probed = health(metrics, redis=full, postgres=Dependency(CatalogUnavailable("no answer")))
    report = await probed.report()
    assert report.status is DEGRADED
    assert report.checks == {"redis": "degraded", "postgres": "down"}
    assert report.reasons == {"redis": "writes are refused: OOM", "postgres": "no answer"}
    assert up(metrics, "redis") == 0
    assert "dependency is degraded: dependency=redis reason=writes are refused: OOM" in caplog.text


async def test_an_unexpected_error_counts_as_down_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, odd = Clock(), Dependency(LookupError("16287"))
    probed = health(clock=clock, redis=odd, postgres=Dependency())
    for error, logged in ((odd.error, 1), (odd.error, 1), (None, 1), (odd.error, 2)):
        odd.error = error
        assert (await probed.report()).checks == {"redis": "down" if error else "ok", "postgres": "ok"}
        assert len(caplog.records) == logged
        clock.now += 2


async def test_watching_goes_on_after_an_unexpected_error() -> None:
    odd, metrics = Dependency(LookupError("16287")), Metrics()
    later = count(step=2).__next__  # every state is too old
    watched = Health({"redis": odd.probe}, metrics.monitoring, interval=0.01, monotonic=later)
    async with background("health", watched.watch()):
        await until(lambda: odd.probed > 2)
        odd.error = None
        await until(lambda: up(metrics, "redis") == 1)


async def test_a_probe_that_times_out_is_down_and_does_not_delay_the_others() -> None:
    began = time.monotonic()
    hanging = {f"cos:{number}": Dependency(hangs=True).probe for number in range(30)}
    report = await Health({"redis": Dependency().probe, **hanging}, Metrics().monitoring, timeout=1).report()
    assert report.checks == {"redis": "ok", **dict.fromkeys(hanging, "down")}
    assert time.monotonic() - began < 20, "one after the other they would take thirty seconds"


async def test_many_reports_probe_a_dependency_once_a_second() -> None:
    clock, dependency = Clock(), Dependency()
    probed = health(clock=clock, postgres=dependency)
    await asyncio.gather(*(probed.report() for _ in range(20)))
    assert dependency.probed == 1
    clock.now += 0.9
    await probed.report()
    assert dependency.probed == 1
    clock.now += 0.2
    dependency.error = CatalogUnavailable()
    assert (await probed.report()).status is NOT_READY
    assert dependency.probed == 2
    dependency.error = None
    clock.now += 1.1
    assert (await probed.report()).status is READY
