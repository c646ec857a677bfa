"""Credentials in memory: the time of a refresh, the effects of a failed one, and its signs."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.concurrency.background import background
from gateway.errors import NoCredentials
from gateway.presign.credentials import Credentials, CredentialsUnavailable
from gateway.presign.credentials.rotation import BucketCredentials, RotatingCredentials
from gateway.service.metrics import Metrics
from tests.tier import NOW, Clock
from tests.waiting import until


@dataclass
class Scripted:
    """A source with answers that the test sets: sets of ``life`` seconds, a failure, or nothing for a while."""

    clock: Callable[[], float]
    life: int | None = 7200
    failure: Exception | None = None
    hangs: bool = False
    same: Credentials | None = None
    given: list[Credentials] = field(default_factory=list)
    asked: int = 0

    async def fetch(self) -> Credentials:
        """Give the next set."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        if self.same is not None:
            return self.same
        end = None if self.life is None else int(self.clock()) + self.life
        self.given.append(Credentials(f"AKID{self.asked}", "key", "token", end))
        return self.given[-1]


@dataclass
class Rotation:
    """Rotating credentials by their parts."""

    clock: Clock
    source: Scripted
    metrics: Metrics
    credentials: RotatingCredentials

    def refreshes(self, result: str) -> float:
        """Return how many refreshes had this result."""
        name = "image_gateway_credentials_refresh_total"
        return self.metrics.registry.get_sample_value(name, {"result": result}) or 0.0


def rotation(clock: Clock, *, random: float = 0.0, name: str = "cvm_role", **source: object) -> Rotation:
    """Return rotating credentials on a clock of the test's."""
    scripted, metrics = Scripted(clock, **source), Metrics()  # type: ignore[arg-type]
    made = RotatingCredentials(scripted.fetch, name, ["b-1", "c-1"], metrics.presign, now=clock, random=lambda: random)
    return Rotation(clock, scripted, metrics, made)


async def test_the_newest_credentials_are_at_hand_until_they_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    it = rotation(clock)
    by_bucket = BucketCredentials(it.credentials, {}, clock)
    with pytest.raises(NoCredentials, match="there was no refresh yet"):
        by_bucket.of("b-1")
    assert await it.credentials.refresh()
    assert by_bucket.of("b-1") == by_bucket.of("any-1") == it.source.given[0]
    name = "image_gateway_credentials_expire_timestamp_seconds"
    for bucket in ("b-1", "c-1"):
        assert it.metrics.registry.get_sample_value(name, {"bucket": bucket}) == NOW + 7200
    clock.now += 7199
    assert by_bucket.of("b-1") == it.source.given[0]
    clock.now += 1
    for _ in range(3):
        with pytest.raises(NoCredentials):
            by_bucket.of("b-1")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"], (
        "once before the first set, once after"
    )


@pytest.mark.parametrize(
    ("life", "lead"),
    [(60, 30), (600, 300), (1800, 900), (3600, 900), (4500, 900), (7200, 1440), (43_200, 8640)],
)
async def test_a_refresh_begins_a_quarter_of_an_hour_or_a_fifth_of_the_life_before_the_end(
    clock: Clock, life: int, lead: int
) -> None:
    earliest, latest = rotation(clock, random=1, life=life), rotation(clock, life=life)
    await earliest.credentials.refresh()
    await latest.credentials.refresh()
    assert latest.credentials.pause() == life - lead
    assert earliest.credentials.pause() == pytest.approx(life - 1.1 * lead)


@given(life=st.integers(6, 200_000), random=st.floats(0, 1), passed=st.floats(0, 1))
async def test_a_refresh_is_never_late_and_never_twice_at_once(life: int, random: float, passed: float) -> None:
    clock = Clock()
    it = rotation(clock, random=random, life=life)
    await it.credentials.refresh()
    pause = it.credentials.pause()
    assert pause is not None
    assert life * 0.4 <= pause <= life * 0.8
    clock.now += pause * passed
    left = it.credentials.pause()
    assert left is not None
    assert left == pytest.approx(pause * (1 - passed), abs=1e-3)


async def test_permanent_credentials_are_not_refreshed(clock: Clock) -> None:
    it = rotation(clock, life=None)
    await it.credentials.refresh()
    assert it.credentials.pause() is None
    assert not it.credentials.is_near_end


async def test_a_source_with_the_same_set_is_asked_again_without_haste(clock: Clock) -> None:
    it = rotation(clock, random=1, same=Credentials("AKID", "key", "token", NOW + 1000))
    await it.credentials.refresh()
    clock.now += 500
    assert await it.credentials.refresh()
    assert (it.refreshes("refreshed"), it.refreshes("unchanged")) == (1, 1)
    assert it.credentials.pause() == 50
    clock.now += 490
    await it.credentials.refresh()
    assert it.credentials.pause() == 1


async def test_failures_are_repeated_with_a_growing_pause_and_warned_of_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    it = rotation(clock, random=1)
    await it.credentials.refresh()
    it.source.failure = CredentialsUnavailable("the metadata service: status 500")
    pauses = []
    for _ in range(8):
        assert not await it.credentials.refresh()
        pauses.append(it.credentials.pause())
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert newest_of(it.credentials) == it.source.given[0], "the old ones sign until their end"
    it.source.failure = None
    assert await it.credentials.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "left=7200s reason=the metadata service: status 500" in caplog.records[0].getMessage()
    assert "bucket=b-1,c-1 source=cvm_role" in caplog.records[1].getMessage()
    assert it.refreshes("failed") == 8


async def test_the_pauses_of_replicas_differ(clock: Clock) -> None:
    its = [rotation(clock, random=random, failure=CredentialsUnavailable("down")) for random in (0.0, 0.5, 1.0)]
    for it in its:
        for _ in range(6):
            await it.credentials.refresh()
    assert [it.credentials.pause() for it in its] == [15, 22.5, 30]


async def test_the_end_without_successors_is_an_error_in_the_log_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    it = rotation(clock)
    await it.credentials.refresh()
    it.source.failure = CredentialsUnavailable("down")
    await it.credentials.refresh()
    clock.now += 7200
    for _ in range(3):
        await it.credentials.refresh()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


@pytest.mark.parametrize("left", [-60, 0, 4])
async def test_a_set_that_has_ended_is_refused(clock: Clock, left: int) -> None:
    it = rotation(clock)
    await it.credentials.refresh()
    it.source.life = left
    assert not await it.credentials.refresh()
    assert newest_of(it.credentials) == it.source.given[0]
    assert "ended at" in it.credentials.reason


async def test_an_unexpected_error_is_logged_and_counted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    it = rotation(clock, failure=LookupError("unexpected failure"))
    assert not await it.credentials.refresh()
    assert "unexpected failure" in caplog.text
    counted = it.metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "credentials"})
    assert counted == 1


@pytest.mark.parametrize(("passed", "is_near"), [(0, False), (5759, False), (5760, True), (7300, True)])
async def test_the_last_fifth_of_the_life_is_near_the_end(clock: Clock, passed: float, is_near: bool) -> None:
    it = rotation(clock)
    assert it.credentials.is_near_end, "without credentials"
    await it.credentials.refresh()
    clock.now += passed
    assert it.credentials.is_near_end is is_near


async def test_callers_share_one_refresh(clock: Clock) -> None:
    it = rotation(clock)
    assert await asyncio.gather(*(it.credentials.refresh() for _ in range(50))) == [True] * 50
    assert it.source.asked == 1


def newest_of(credentials: RotatingCredentials) -> Credentials:
    """Return the newest credentials, which must be there."""
    assert credentials.newest is not None
    return credentials.newest


def url_of(secret_id: str) -> str:
    """Return a URL that was signed with the credentials of ``secret_id``."""
    return f"https://host/key?q-sign-algorithm=sha1&q-ak={secret_id}&q-sign-time=1%3B2"


class TestTask:
    """The task that keeps credentials fresh, by the real clock."""

    async def test_it_refreshes_before_the_end(self) -> None:
        source = Scripted(time.time, life=6)
        credentials = RotatingCredentials(source.fetch, "cvm_role", ["b-1"], Metrics().presign, random=lambda: 0.0)
        async with background("credentials-test", credentials.keep_fresh()):
            await until(lambda: len(source.given) == 2 and newest_of(credentials) == source.given[1])
            first, second, *_ = source.given
            assert (second.expires_at or 0) < (first.expires_at or 0) + 6, "before the first ended"

    @pytest.mark.parametrize("key", [url_of("AKID1"), "AKID1"], ids=["by-cos", "by-another-service"])
    async def test_a_refusal_of_the_newest_credentials_refreshes_at_once(self, key: str) -> None:
        source = Scripted(time.time)
        credentials = RotatingCredentials(source.fetch, "cvm_role", ["b-1"], Metrics().presign, refusal_pause=0)
        async with background("credentials-test", credentials.keep_fresh()):
            await until(lambda: source.asked == 1)
            credentials.refused(url_of("AKID10"))  # signed with the credentials of another replica
            credentials.refused("AKID10")
            credentials.refused(key)
            await until(lambda: newest_of(credentials).secret_id == "AKID2")
            credentials.refused(key)  # replaced meanwhile
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert source.asked == 2
        assert newest_of(credentials).secret_id == "AKID2"

    async def test_a_caller_that_finds_them_ended_causes_a_refresh(self, clock: Clock) -> None:
        """The machine was suspended, or its clock corrected: no timer has run."""
        it = rotation(clock)
        by_bucket = BucketCredentials(it.credentials, {}, clock)
        async with background("credentials-test", it.credentials.keep_fresh()):
            await until(lambda: it.source.asked == 1)
            clock.now += 24 * 3600
            with pytest.raises(NoCredentials):
                by_bucket.of("b-1")
            await until(lambda: newest_of(it.credentials).secret_id == "AKID2")
            assert by_bucket.of("b-1").secret_id == "AKID2"

    async def test_a_clock_that_goes_back_delays_no_refresh(self, clock: Clock) -> None:
        it = rotation(clock, failure=CredentialsUnavailable("down"))
        async with background("credentials-test", it.credentials.keep_fresh()):
            await until(lambda: it.source.asked == 1)
            clock.now -= 3600
            await until(lambda: it.source.asked == 2)

    async def test_a_thousand_refusals_cause_one_refresh_in_a_pause(self) -> None:
        source = Scripted(time.time)
        credentials = RotatingCredentials(
            source.fetch, "cvm_role", ["b-1"], Metrics().presign, random=lambda: 0.0, refusal_pause=0.3
        )
        async with background("credentials-test", credentials.keep_fresh()):
            await until(lambda: source.asked == 1)
            began = time.monotonic()
            while source.asked < 4:
                for _ in range(1000):
                    credentials.refused(url_of(f"AKID{source.asked}"))
                await asyncio.sleep(0)
            assert time.monotonic() - began > 0.5

    async def test_credentials_of_the_configuration_are_fetched_once(self) -> None:
        source = Scripted(time.time, life=6)
        await RotatingCredentials(source.fetch, "static", ["b-1"], Metrics().presign, poll=math.inf).keep_fresh()
        assert source.asked == 1

    async def test_a_file_is_looked_at_every_second(self) -> None:
        source = Scripted(time.time, same=Credentials("AKID", "key"))
        metrics = Metrics()
        credentials = RotatingCredentials(source.fetch, "cvm_role", ["b-1"], metrics.presign, poll=0.02)
        async with background("credentials-test", credentials.keep_fresh()):
            await until(lambda: source.asked > 3)
            source.same = Credentials("AKIDNEW", "key")
            await until(lambda: newest_of(credentials).secret_id == "AKIDNEW")
        name, labels = "image_gateway_credentials_refresh_total", {"result": "unchanged"}
        assert metrics.registry.get_sample_value(name, labels) == 0, "a look is no refresh"

    async def test_it_can_be_cancelled_while_the_source_hangs(self) -> None:
        source = Scripted(time.time, hangs=True)
        credentials = RotatingCredentials(source.fetch, "cvm_role", ["b-1"], Metrics().presign)
        async with background("credentials-test", credentials.keep_fresh()):
            await until(lambda: source.asked == 1)
        assert not credentials.tried.is_set()
