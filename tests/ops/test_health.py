"""Can the gateway serve, and what of it would fail?"""

import asyncio
import time
from dataclasses import dataclass

import pytest

from gateway.concurrency.background import background
from gateway.errors import CatalogUnavailable, DependencyDown, OriginUnavailable
from gateway.metrics.collectors import Metrics
from gateway.ops.health import Health, Readiness
from tests.waiting import until

READY, DEGRADED, NOT_READY = Readiness.READY, Readiness.DEGRADED, Readiness.NOT_READY


@dataclass
class Dependency:
    """Something that is up or down, and counts how often it was asked."""

    error: Exception | None = None
    hangs: bool = False
    asked: int = 0

    async def probe(self) -> None:
        """As an adapter's ping."""
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def health(metrics: Metrics | None = None, clock: Clock | None = None, **dependencies: Dependency) -> Health:
    """Over these dependencies."""
    probes = {name: dependency.probe for name, dependency in dependencies.items()}
    return Health(probes, metrics or Metrics(), timeout=0.05, monotonic=clock or Clock())


def up(metrics: Metrics, dependency: str) -> float | None:
    """What the metric says."""
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
async def test_one_of_the_two_stores_is_enough(down: set[str], status: Readiness) -> None:
    names = ("redis", "postgres", "cos")
    dependencies = {name: Dependency(DependencyDown() if name in down else None) for name in names}
    report = await Health({name: one.probe for name, one in dependencies.items()}, Metrics()).report()
    assert report.status is status
    assert report.checks == {name: "down" if name in down else "ok" for name in names}


async def test_without_a_url_cache_everything_hangs_on_postgres() -> None:
    up, down = Dependency(), Dependency(CatalogUnavailable())
    assert (await health(postgres=up, cos=up).report()).status is READY
    assert (await health(postgres=down, cos=up).report()).status is NOT_READY


@pytest.mark.parametrize(
    "error", [DependencyDown("x"), CatalogUnavailable("x"), OriginUnavailable("x"), TimeoutError()]
)
async def test_each_adapter_says_down_in_its_own_way(error: Exception) -> None:
    assert (await health(postgres=Dependency(), cos=Dependency(error)).report()).checks["cos"] == "down"


async def test_an_error_that_nobody_foresaw_is_down_and_told_once_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, odd = Clock(), Dependency(LookupError("16287"))
    asked = health(clock=clock, redis=odd, postgres=Dependency())
    for error, told in ((odd.error, 1), (odd.error, 1), (None, 1), (odd.error, 2)):
        odd.error = error
        assert (await asked.report()).checks == {"redis": "down" if error else "ok", "postgres": "ok"}
        assert len(caplog.records) == told
        clock.now += 2


async def test_the_watcher_goes_on_after_it() -> None:
    odd, metrics = Dependency(LookupError("16287")), Metrics()
    watched = Health({"redis": odd.probe}, metrics, keep=0, look_every=0.01)
    async with background("health", watched.watch()):
        await until(lambda: odd.asked > 2)
        odd.error = None
        await until(lambda: up(metrics, "redis") == 1)


async def test_what_does_not_answer_in_time_is_down_and_holds_up_nobody() -> None:
    began = time.monotonic()
    report = await health(redis=Dependency(), postgres=Dependency(hangs=True), cos=Dependency(hangs=True)).report()
    assert report.checks == {"redis": "ok", "postgres": "down", "cos": "down"}
    assert time.monotonic() - began < 0.5


async def test_however_often_one_asks_a_dependency_is_asked_once_a_second() -> None:
    clock, dependency = Clock(), Dependency()
    asked = health(clock=clock, postgres=dependency)
    await asyncio.gather(*(asked.report() for _ in range(20)))
    assert dependency.asked == 1
    clock.now += 0.9
    await asked.report()
    assert dependency.asked == 1
    clock.now += 0.2
    dependency.error = CatalogUnavailable()
    assert (await asked.report()).status is NOT_READY
    assert dependency.asked == 2
    dependency.error = None
    clock.now += 1.1
    assert (await asked.report()).status is READY


async def test_draining_is_not_ready_whatever_answers() -> None:
    asked = health(postgres=Dependency(), redis=Dependency(), cos=Dependency())
    assert (await asked.report()).status is READY
    asked.drain()
    report = await asked.report()
    assert report.status is NOT_READY
    assert set(report.checks.values()) == {"ok"}


async def test_the_state_is_measured() -> None:
    metrics = Metrics()
    await health(metrics, redis=Dependency(DependencyDown()), postgres=Dependency()).report()
    assert (up(metrics, "redis"), up(metrics, "postgres")) == (0, 1)
