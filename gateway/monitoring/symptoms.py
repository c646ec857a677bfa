"""The current problems, the worst first, and causes before effects: COS, clocks, dependencies, requests, renewals."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.metrics.canary import CanaryOutcome
from gateway.metrics.collectors import Metrics
from gateway.metrics.history import DROPPED_LINES, History, Point, gauge_value, total
from gateway.metrics.symptom import Level, Symptom
from gateway.monitoring.health import Health
from gateway.presign.credentials.by_bucket import BucketCredentials
from gateway.presign.lifetime import CosClock
from gateway.presign.signed_image import CLOCK_TOLERANCE

_WINDOW: Final = 12  # points of five seconds: a minute
_BAD_SHARE: Final = 0.05
_LATE: Final = 60  # seconds
_REFUSALS: Final = frozenset(  # codes by which COS refuses every request of the gateway
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
)
_NO_CODE: Final = " none"  # of answers to HEAD, which have no body; a GET fails with the code
_CREDENTIALS: Final = "credentials"  # a check that is down in the last fifth of their life


@dataclass(frozen=True, slots=True)
class Observations:
    """The state of the gateway. Times are in seconds. Unknown values are NaN or None."""

    points: Sequence[Point]
    checks: Mapping[str, str]
    is_draining: bool
    paused_buckets: Sequence[str]
    clock_difference: float
    credentials_left: float | None
    trigger_installed: float
    reload_successful: float
    renewal_lag: float
    dead: float
    purge_lag: float
    purge_dead: float
    canary: Sequence[CanaryOutcome] = ()


def symptoms(seen: Observations) -> list[Symptom]:
    """Return the current problems, the worst first, and causes before effects. Empty without any."""
    found = [
        *_of_canary(seen.canary),
        *_of_requests(seen.points[-_WINDOW:]),
        *_of_state(seen),
        *_of_log(seen.points),
    ]
    return sorted(found, key=lambda symptom: symptom.order)


def _of_requests(points: Sequence[Point]) -> Iterable[Symptom]:
    requests, failed = sum(point.requests for point in points), sum(point.failed for point in points)
    many = _BAD_SHARE * requests
    level: Level = "bad" if failed and failed >= many else "warning"
    if failed:
        yield Symptom("requests_fail", level, {"failed": failed, "requests": requests})
    errors = Counter({name: count for name, count in total(points).items() if name.startswith("cos_error ")})
    named = [item for item in errors.most_common() if not item[0].endswith(_NO_CODE)]
    for name, count in (named or errors.most_common())[:3]:
        _, bucket, code = name.split(" ", 2)
        name = "cos_refuses" if code in _REFUSALS else "objects_missing" if code == "NoSuchKey" else "cos_errors"
        # An object that is missing is a 404, which is no failure of the gateway.
        is_cause = name != "objects_missing" and count >= many
        yield Symptom(name, level if is_cause else "warning", {"bucket": bucket, "code": code, "count": count})


def _of_canary(outcomes: Sequence[CanaryOutcome]) -> Iterable[Symptom]:
    for outcome in outcomes:
        if outcome.is_up is False:
            yield Symptom("canary_fails", "bad", {"via": outcome.via, "check": outcome.check})
    for check in sorted({outcome.check for outcome in outcomes if outcome.is_up is None}):
        yield Symptom("canary_wrong", "warning", {"check": check})


def _of_state(seen: Observations) -> Iterable[Symptom]:
    if seen.is_draining:
        yield Symptom("draining", "bad")
    for name, state in seen.checks.items():
        if name != _CREDENTIALS and state == "down":
            yield Symptom("dependency_down", "bad", {"dependency": name})
        elif name != _CREDENTIALS and state == "degraded":
            yield Symptom("dependency_degraded", "warning", {"dependency": name})
    for bucket in seen.paused_buckets:
        yield Symptom("bucket_paused", "bad", {"bucket": bucket})
    if abs(seen.clock_difference) >= CLOCK_TOLERANCE:
        yield Symptom("clock_differs", "warning", {"seconds": round(seen.clock_difference)})
    left = seen.credentials_left
    if left is not None and (left < _LATE * 5 or seen.checks.get(_CREDENTIALS, "ok") != "ok"):
        if left > 0:
            yield Symptom("credentials_end", "warning", {"seconds": round(left)})
        else:
            yield Symptom("credentials_ended", "bad")
    if seen.trigger_installed == 0:
        yield Symptom("trigger_missing", "warning")
    if seen.reload_successful == 0:
        yield Symptom("reload_refused", "warning")
    if seen.renewal_lag > _LATE:
        yield Symptom("renewals_late", "warning", {"seconds": round(seen.renewal_lag)})
    if seen.dead > 0:
        yield Symptom("renewals_dead", "warning", {"count": int(seen.dead)})
    if seen.purge_lag > _LATE:
        yield Symptom("purges_late", "warning", {"seconds": round(seen.purge_lag)})
    if seen.purge_dead > 0:
        yield Symptom("purges_dead", "warning", {"count": int(seen.purge_dead)})


def _of_log(points: Sequence[Point]) -> Iterable[Symptom]:
    if lost := total(points)[DROPPED_LINES]:
        yield Symptom("log_lines_dropped", "warning", {"count": lost})


class CurrentSymptoms:
    """Observes the gateway for ``symptoms``. ``paused_buckets`` returns the buckets that get no requests."""

    def __init__(
        self,
        health: Health,
        history: History,
        metrics: Metrics,
        clock: CosClock,
        credentials: BucketCredentials,
        paused_buckets: Callable[[], list[str]],
    ) -> None:
        self._health = health
        self._history = history
        self._metrics = metrics
        self._clock = clock
        self._credentials = credentials
        self._paused_buckets = paused_buckets

    def now(self) -> list[Symptom]:
        """Return the current problems, the worst first."""
        metrics = self._metrics
        left = [source.seconds_left for source in self._credentials.all if source.seconds_left is not None]
        return symptoms(
            Observations(
                points=self._history.fine(),
                checks=self._health.latest.checks,
                is_draining=self._health.is_draining,
                paused_buckets=self._paused_buckets(),
                clock_difference=self._clock.observed_offset,
                credentials_left=min(left, default=None),
                trigger_installed=gauge_value(metrics.change_trigger_installed),
                reload_successful=gauge_value(metrics.config_last_reload_successful),
                renewal_lag=gauge_value(metrics.refresh_lag),
                dead=gauge_value(metrics.refresh_dead),
                purge_lag=gauge_value(metrics.purge_lag),
                purge_dead=gauge_value(metrics.purge_dead),
                canary=metrics.canary.latest,
            )
        )
