"""The current problems, the worst first, and causes before effects: COS, clocks, dependencies, requests, renewals."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Gauge

from gateway.findings.catalogue import CATALOGUE, Level
from gateway.findings.finding import Finding
from gateway.metrics.canary import CanaryOutcome, CanaryOutcomes
from gateway.metrics.history import MISDIRECTED, History, Point, total
from gateway.metrics.nginx_last_asked import NginxLastAsked
from gateway.metrics.registry import OptionalGauge, gauge_value
from gateway.monitoring.health import Health
from gateway.origin.cos_errors import REFUSALS
from gateway.presign.credentials.rotation import BucketCredentials
from gateway.presign.url_lifetime import CLOCK_TOLERANCE, CosClock

_WINDOW: Final = 12  # points of five seconds: a minute
_JUST_NOW: Final = 2  # points
_BAD_SHARE: Final = 0.05
_LATE: Final = 60  # seconds
_OF_OBJECTS: Final[Mapping[str, str]] = {  # codes that are no failure of COS: the problem by code
    "NoSuchKey": "objects_missing",
    **dict.fromkeys(("ImageResolutionExceed", "ImageTooLarge", "InvalidImageFormat"), "objects_unprocessable"),
}
_NO_CODE: Final = " none"  # of answers to HEAD, which have no body; a GET fails with the code
_CREDENTIALS: Final = "credentials"  # a check that is down in the last fifth of their life
_SEVERAL: Final = 3  # failures of a source in a row
_CHANGES: Final = "changes"  # a check that heartbeats come back
# Counts, each of which is a problem.
_RARE: Final = ("log_lines_dropped", "nginx_files_old", "open_files_short", "audit_lines_lost")
_SLOW_SHARE: Final = 0.1  # of a bucket's answers, as in the alert
_LEAST_SLOW: Final = 3
# The mix of answers, as in the alert: the statuses, the points of the last five minutes and of the hour before them.
_DENIALS: Final = ("401", "403", "404")
_MIX_NOW: Final = 60
_MIX_BEFORE: Final = 60
_FEW: Final = 30  # answers of a status in five minutes: too few for a share
_GROWN: Final = 1.8  # times
_GROWN_BY: Final = 0.02  # of all answers
_MOST: Final = 0.5  # of all answers, where nothing is known of the hour before
_ENOUGH_BEFORE: Final = 100  # answers of the hour before


@dataclass(frozen=True, slots=True)
class Gauges:
    """Metrics of other packages that ``symptoms`` judges. A gauge is NaN while its value is not known."""

    trigger_installed: Gauge
    reload_successful: Gauge
    refresh_lag: OptionalGauge
    dead: OptionalGauge
    purge_lag: OptionalGauge
    purge_dead: OptionalGauge
    redis_evicts: OptionalGauge
    nginx: NginxLastAsked
    canary: CanaryOutcomes


@dataclass(frozen=True, slots=True)
class Observations:
    """What is known of the gateway at one time, for ``symptoms`` to find faults in. Times are in seconds.

    checks, reasons: the state of each dependency, and why it is not ``ok``.
    points, minutes: the points of five seconds and of a minute, the oldest first.
    credentials_left: until the first of COS's credentials end. NaN: none end.
    credentials_reason: which source gives none, and why. Empty: each gave some.
    """

    points: Sequence[Point]
    minutes: Sequence[Point]
    checks: Mapping[str, str]
    reasons: Mapping[str, str]
    is_draining: bool
    paused_buckets: Sequence[str]
    clock_difference: float
    credentials_left: float
    credentials_reason: str
    gauges: Gauges


def symptoms(seen: Observations) -> list[Finding]:
    """Return the current problems, the worst first, and causes before effects. Empty without any."""
    minute = seen.points[-_WINDOW:]
    found = [
        *_of_canary(seen.gauges.canary.latest),
        *_of_requests(minute),
        *_of_buckets(minute),
        *_of_mix(seen.points[-_MIX_NOW:], seen.minutes),
        *_of_state(seen),
        *_of_events(seen.points, minute),
        *seen.gauges.nginx.symptoms(),
    ]
    return sorted(found, key=lambda symptom: symptom.order)


def _of_requests(points: Sequence[Point]) -> Iterable[Finding]:
    requests, failed = sum(point.requests for point in points), sum(point.failed for point in points)
    many = _BAD_SHARE * requests
    level: Level = "bad" if failed and failed >= many else "warning"
    errors = Counter({name: count for name, count in total(points).items() if name.startswith("cos_error ")})
    named = [item for item in errors.most_common() if not item[0].endswith(_NO_CODE)]
    has_recovered = next((point.failed == 0 for point in reversed(points) if point.requests), False)
    for name, count in (named or errors.most_common())[:3]:
        _, bucket, code = name.split(" ", 2)
        # An object that is missing is a 404, and an object that cannot be processed is sent as it is.
        name = _OF_OBJECTS.get(code, "cos_refuses" if code in REFUSALS else "cos_errors")
        is_over = _bucket_has_recovered(points, bucket)
        has_recovered &= is_over or code in _OF_OBJECTS
        is_cause = code not in _OF_OBJECTS and count >= many and not is_over
        grave: Level = level if is_cause else "warning"
        yield Finding.of(name, f"cos {bucket}", level=grave, bucket=bucket, code=code, count=count)
    if failed:
        yield Finding("requests_fail", "warning" if has_recovered else level, {"failed": failed, "requests": requests})


def _bucket_has_recovered(points: Sequence[Point], bucket: str) -> bool:
    """Return whether the latest requests to the bucket have worked."""
    for point in reversed(points):
        errors = {name.split(" ", 2)[2] for name in point.counts if name.startswith(f"cos_error {bucket} ")}
        if errors - _OF_OBJECTS.keys():
            return False
        if point.counts.get(f"asked {bucket}"):
            return True
    return False


def _of_buckets(points: Sequence[Point]) -> Iterable[Finding]:
    counts = total(points)
    for name, slow in counts.items():
        _, _, bucket = name.partition("slow ")
        asked = counts[f"asked {bucket}"]
        if bucket and slow >= max(_LEAST_SLOW, _SLOW_SHARE * asked):
            yield Finding.of("bucket_slow", bucket=bucket, count=slow, requests=asked)


def _of_mix(points: Sequence[Point], minutes: Sequence[Point]) -> Iterable[Finding]:
    """Yield each status of which the share is far from that of the hour before."""
    if not points:
        return
    start = points[0].at - points[0].span
    now, before = total(points), total([point for point in minutes if point.at <= start][-_MIX_BEFORE:])
    for status in _DENIALS:
        (denied, answers), (denied_before, answers_before) = _mix(now, status), _mix(before, status)
        if denied < _FEW:
            continue
        share, share_before = denied / answers, denied_before / max(1, answers_before)
        percent, before_percent = round(100 * share), round(100 * share_before)
        if answers_before < _ENOUGH_BEFORE:
            if share >= _MOST:
                yield Finding.of("answers_mostly", status=status, percent=percent)
        elif share > _GROWN * share_before and share - share_before > _GROWN_BY:
            yield Finding.of("answers_changed", status=status, percent=percent, before=before_percent)


def _mix(counts: Mapping[str, int], status: str) -> tuple[int, int]:
    """Return the number of answers with the status, and of all answers, of images and of questions of access."""
    answers = sum(count for name, count in counts.items() if name.startswith(("status ", "access ")))
    return counts.get(f"status {status}", 0) + counts.get(f"access {status}", 0), answers


def _of_canary(outcomes: Sequence[CanaryOutcome]) -> Iterable[Finding]:
    for outcome in outcomes:
        if outcome.is_up is False:
            yield Finding.of("canary_fails", outcome.via, outcome.what, via=outcome.via, check=outcome.check)
    for check, what in sorted({outcome.check: outcome.what for outcome in outcomes if outcome.is_up is None}.items()):
        yield Finding.of("canary_wrong", "from outside", what, check=check)


def _of_state(seen: Observations) -> Iterable[Finding]:
    """Yield each problem that a single value shows. A comparison with NaN is false: nothing is known."""
    gauges = seen.gauges
    if seen.is_draining:
        yield Finding.of("draining")
    if abs(seen.clock_difference) >= CLOCK_TOLERANCE:
        yield Finding.of("clock_differs", seconds=round(seen.clock_difference))
    yield from _of_credentials(seen.credentials_left, seen.credentials_reason, seen.checks)
    if gauge_value(gauges.reload_successful) == 0:
        yield Finding.of("reload_refused")
    if gauge_value(gauges.redis_evicts) == 1:
        yield Finding.of("redis_evicts")
    for name, gauge, most, number in (
        ("renewals_late", gauges.refresh_lag, _LATE, "seconds"),
        ("renewals_dead", gauges.dead, 0, "count"),
        ("purges_late", gauges.purge_lag, _LATE, "seconds"),
        ("purges_dead", gauges.purge_dead, 0, "count"),
    ):
        if (value := gauge_value(gauge)) > most:
            yield Finding(name, CATALOGUE[name].level, {number: round(value)})
    for name, state in seen.checks.items():
        what = seen.reasons.get(name, "")
        if name == _CHANGES and state != "ok":
            if gauge_value(gauges.trigger_installed) != 0:  # otherwise that is the reason
                yield Finding.of("changes_not_heard", name, what)
        elif name not in (_CHANGES, _CREDENTIALS) and state != "ok":
            kind = "dependency_down" if state == "down" else "dependency_degraded"
            yield Finding.of(kind, seen=what, dependency=name)
    if gauge_value(gauges.trigger_installed) == 0:
        yield Finding.of("trigger_missing", _CHANGES, seen.reasons.get(_CHANGES, ""))
    for bucket in seen.paused_buckets:
        yield Finding.of("bucket_paused", bucket=bucket)


def _of_credentials(left: float, reason: str, checks: Mapping[str, str]) -> Iterable[Finding]:
    is_near_end = left < _LATE * 5 or checks.get(_CREDENTIALS, "ok") != "ok"
    if is_near_end and left <= 0:
        yield Finding.of("credentials_ended", _CREDENTIALS, reason)
    elif reason:
        yield Finding.of("credentials_not_refreshed", _CREDENTIALS, reason)
    if is_near_end and left > 0:
        yield Finding.of("credentials_end", seconds=round(left))


def _of_events(points: Sequence[Point], minute: Sequence[Point]) -> Iterable[Finding]:
    counts = total(points)
    for rare in _RARE:
        if count := sum(count for name, count in counts.items() if name.startswith(rare)):
            yield Finding.of(rare, count=count)
    if total(minute[-_JUST_NOW:])[MISDIRECTED]:  # nginx asks five times a second
        yield Finding.of("nginx_asks_wrong_port")


@dataclass(frozen=True, slots=True)
class CurrentSymptoms:
    """Finds the gateway's current faults by ``symptoms``. ``paused_buckets``: buckets of COS that get no requests."""

    health: Health
    history: History
    gauges: Gauges
    clock: CosClock
    credentials: BucketCredentials
    paused_buckets: Callable[[], list[str]]

    def now(self) -> list[Finding]:
        latest = self.health.latest
        sources = self.credentials.all
        left = [source.seconds_left for source in sources if source.seconds_left is not None]
        failing = [source for source in sources if source.failures >= (_SEVERAL if source.seconds_left else 1)]
        return symptoms(
            Observations(
                points=list(self.history.fine),
                minutes=list(self.history.coarse),
                checks=latest.checks,
                reasons=latest.reasons,
                is_draining=self.health.is_draining,
                paused_buckets=self.paused_buckets(),
                clock_difference=self.clock.observed_offset,
                credentials_left=min(left, default=float("nan")),
                credentials_reason=", ".join(f"source {each.name}: refresh failed: {each.reason}" for each in failing),
                gauges=self.gauges,
            )
        )
