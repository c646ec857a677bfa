"""The console's sentence: what is wrong, the worst first."""

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.errors import DependencyDown
from gateway.findings.finding import Finding
from gateway.metrics.history import History, Point
from gateway.monitoring.health import Health
from gateway.monitoring.symptoms import CurrentSymptoms, Observations, symptoms
from gateway.presign.credentials.rotation import open_credentials
from gateway.presign.url_lifetime import CosClock
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings

WELL = Observations(
    points=[],
    minutes=[],
    checks={"redis": "ok", "cos": "ok"},
    reasons={},
    is_draining=False,
    paused_buckets=[],
    clock_difference=0.4,
    credentials_left=float("nan"),
    credentials_reason="",
    gauges=Metrics().gauges,
)
WELL.gauges.reload_successful.set(1)


def point(**counts: int) -> Point:
    return Point(5, 5, {name.replace("_", " "): count for name, count in counts.items()}, None)


def names(found: Sequence[Finding]) -> list[str]:
    return [symptom.name for symptom in found]


def test_a_gateway_that_is_well_has_none() -> None:
    assert symptoms(WELL) == []
    assert symptoms(replace(WELL, points=[point(status_200=5, status_404=5)])) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clock_difference": -600.2}, Finding("clock_differs", "warning", {"seconds": -600})),
        ({"credentials_left": 299.0}, Finding("credentials_end", "warning", {"seconds": 299})),
        (
            {"credentials_left": 900.0, "checks": {"credentials": "down"}},
            Finding("credentials_end", "warning", {"seconds": 900}),
        ),
        ({"credentials_left": 0.0, "checks": {"credentials": "down"}}, Finding.of("credentials_ended", "credentials")),
        (
            {"points": [Point(5, 5, {"log_lines_dropped": 7}, None), *[point(status_200=1)] * 12]},
            Finding("log_lines_dropped", "warning", {"count": 7}),
        ),
        (
            {"points": [Point(5, 5, {"open_files_short": 1}, None)]},
            Finding("open_files_short", "warning", {"count": 1}),
        ),
        (
            {"points": [point(status_200=95, status_502=4, status_aborted=1)]},
            Finding("requests_fail", "bad", {"failed": 5, "requests": 100}),
        ),
        (
            {"points": [point(status_200=96, status_503=4)]},
            Finding("requests_fail", "warning", {"failed": 4, "requests": 100}),
        ),
    ],
)
def test_a_fault_is_named(changes: dict[str, object], expected: Finding) -> None:
    assert symptoms(replace(WELL, **changes)) == [expected]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("SignatureDoesNotMatch", ["cos_refuses", "requests_fail", "clock_differs"]),
        ("InternalError", ["cos_errors", "requests_fail", "clock_differs"]),
        ("NoSuchKey", ["requests_fail", "objects_missing", "clock_differs"]),
    ],
)
def test_what_cos_answers_is_named_before_the_requests_that_fail_for_it(code: str, expected: list[str]) -> None:
    points = [Point(5, 5, {"status 502": 9, "status 200": 1, f"cos_error b-1 {code}": 9}, None)]
    assert names(symptoms(replace(WELL, points=points, clock_difference=600))) == expected


def in_turn(*counts: dict[str, int]) -> list[Point]:
    """Return points one after another, five seconds apart."""
    return [Point(5.0 * number, 5, found, None) for number, found in enumerate(counts, start=1)]


FAILED = {"status 502": 9, "asked b": 9, "cos_error b no_answer": 9}
WORKED = {"status 200": 9, "asked b": 1}


@pytest.mark.parametrize(
    ("then", "level"),
    [
        ({}, "bad"),
        ({"status 200": 9}, "bad"),  # from memory: nothing is known of the bucket
        ({"status 200": 9, "asked b": 1}, "warning"),
        ({"status 200": 9, "asked other": 1}, "bad"),
        ({"status 502": 1, "status 200": 9, "asked b": 9, "cos_error b timeout": 1}, "bad"),
        ({"status 404": 9, "asked b": 9, "cos_error b NoSuchKey": 9}, "warning"),
    ],
)
def test_red_ends_when_the_latest_request_has_worked(then: dict[str, int], level: str) -> None:
    found = symptoms(replace(WELL, points=in_turn(FAILED, then)))
    levels = {symptom.name: symptom.level for symptom in found}
    assert levels["cos_errors"] == levels["requests_fail"] == level


def test_red_comes_back_with_the_next_failure_and_requests_that_fail_without_cos_end_alike() -> None:
    assert symptoms(replace(WELL, points=in_turn(FAILED, WORKED, FAILED)))[0].level == "bad"
    (fails,) = symptoms(replace(WELL, points=in_turn({"status 503": 9}, {}, {"status 200": 1})))
    assert (fails.name, fails.level) == ("requests_fail", "warning")


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ({"status 200": 50, "status 404": 50}, {"status 200": 97, "status 404": 3}, ("answers_changed", 50, 3)),
        ({"access 200": 70, "access 401": 30}, {"access 200": 100}, ("answers_changed", 30, 0)),
        ({"status 200": 900, "status 404": 100}, {"status 200": 950, "status 404": 50}, ("answers_changed", 10, 5)),
        ({"status 200": 1, "status 403": 50}, {"status 200": 9}, ("answers_mostly", 98, None)),
        ({"status 200": 50, "status 404": 50}, {"status 200": 60, "status 404": 40}, None),  # as before
        ({"status 404": 29}, {"status 200": 100}, None),  # too few
        ({"status 200": 60, "status 404": 40}, {"status 200": 9}, None),  # nothing to compare with
        ({}, {"status 200": 100}, None),  # no traffic, no alarm
        ({"status 200": 985, "status 404": 15, "access 404": 15}, {"status 200": 990, "status 404": 10}, None),
    ],
)
def test_the_share_of_an_answer_is_compared_with_the_hour_before(
    now: dict[str, int], before: dict[str, int], expected: tuple[str, int, int | None] | None
) -> None:
    minutes = [Point(60, 60, before, None), Point(3600 * 24, 60, {"status 404": 999}, None)]  # the last one is of now
    found = symptoms(replace(WELL, minutes=minutes, points=[Point(400, 5, now, None)]))
    assert [(symptom.name, symptom.values["percent"], symptom.values.get("before")) for symptom in found] == (
        [expected] if expected is not None else []
    )


def test_only_an_hour_before_counts() -> None:
    old, hour = Point(60, 60, {"status 404": 9999}, None), [Point(60, 60, {"status 200": 100}, None)] * 60
    (found,) = symptoms(replace(WELL, minutes=[old, *hour], points=[Point(400, 5, {"status 404": 30}, None)]))
    assert (found.name, found.values["before"]) == ("answers_changed", 0)


@pytest.mark.parametrize(("slow", "is_named"), [(2, False), (3, True), (9, True)])
def test_a_bucket_that_answers_in_seconds_is_named(slow: int, *, is_named: bool) -> None:
    found = symptoms(replace(WELL, points=[Point(5, 5, {"slow b-1": slow, "asked b-1": 10, "asked b-2": 99}, None)]))
    values: dict[str, str | int | float] = {"bucket": "b-1", "count": slow, "requests": 10}
    assert found == ([Finding("bucket_slow", "warning", values)] if is_named else [])


def test_an_error_without_a_code_is_named_only_if_no_other_is() -> None:
    head, get = {"cos_error b none": 9}, {"cos_error b SlowDown": 2}
    for counts, codes in ((head, ["none"]), (head | get, ["SlowDown"])):
        found = symptoms(replace(WELL, points=[Point(5, 5, counts, None)]))
        assert [symptom.values["code"] for symptom in found] == codes


def test_few_errors_of_cos_are_a_warning() -> None:
    points = [Point(5, 5, {"status 502": 50, "status 200": 50, "cos_error b AccessDenied": 1}, None)]
    assert [(symptom.name, symptom.level) for symptom in symptoms(replace(WELL, points=points))] == [
        ("requests_fail", "bad"),
        ("cos_refuses", "warning"),
    ]


def test_the_worst_is_first_and_only_the_last_minute_counts() -> None:
    old = [point(status_500=1)] * 5 + [point(status_200=1)] * 12
    found = symptoms(replace(WELL, points=old, clock_difference=600, checks={"cos": "down"}))
    assert names(found) == ["dependency_down", "clock_differs"]


def test_cos_s_errors_name_the_bucket_and_the_code() -> None:
    seen = Point(5, 5, {"cos_error b-1 AccessDenied": 2, "cos_error b-2 timeout": 3}, None)
    assert [symptom.values for symptom in symptoms(replace(WELL, points=[seen, seen]))] == [
        {"bucket": "b-2", "code": "timeout", "count": 6},
        {"bucket": "b-1", "code": "AccessDenied", "count": 4},
    ]


async def test_the_parts_of_the_gateway_are_observed_at_each_question() -> None:
    metrics, clock, paused = Metrics(), CosClock(), list[str]()
    metrics.reload.config_last_reload_successful.set(1)

    async def away() -> None:
        raise DependencyDown("no answer")

    health, history = Health(lambda: {"cos": away}, metrics.monitoring), History(metrics.counted, 0)
    end = int(time.time()) + 60
    cos = CosSettings(secret_id="i", secret_key="k", token="t", token_expires_at=end, bucket="b-1250000000")
    async with open_credentials(cos.source, cos.regions, metrics.presign, clock=clock) as credentials:
        current = CurrentSymptoms(health, history, metrics.gauges, clock, credentials, lambda: paused)
        assert names(current.now()) == ["credentials_end"], "nothing else has been observed"
        await health.report()
        paused.append("b-1250000000")
        clock.observe(time.time() + 600)
        health.drain()
        metrics.server.requests.record("proxy", "stream", "502", 0.1, None)
        history.record(5)
        for gauge, value in (
            (metrics.monitoring.change_trigger_installed, 0),
            (metrics.reload.config_last_reload_successful, 0),
            (metrics.urls.refresh_lag, 61),
            (metrics.urls.refresh_dead, 1),
            (metrics.purge.purge_lag, 61),
            (metrics.purge.purge_dead, 2),
        ):
            gauge.set(value)
        assert [(symptom.name, symptom.values) for symptom in current.now()] == [
            ("draining", {}),
            ("dependency_down", {"dependency": "cos"}),
            ("trigger_missing", {}),
            ("bucket_paused", {"bucket": "b-1250000000"}),
            ("requests_fail", {"failed": 1, "requests": 1}),
            ("clock_differs", {"seconds": 600}),
            ("credentials_end", {"seconds": pytest.approx(60, abs=30)}),
            ("reload_refused", {}),
            ("renewals_late", {"seconds": 61}),
            ("renewals_dead", {"count": 1}),
            ("purges_late", {"seconds": 61}),
            ("purges_dead", {"count": 2}),
        ]
        metrics.nginx.nginx_asked.sends_copies()
        assert "nginx_unheard" not in names(current.now()), "nginx has half a minute to ask"
