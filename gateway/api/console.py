"""``GET /api/v1/monitoring/console``, which the console polls."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiohttp import web

from gateway.access.admin_guard import AdminGuard
from gateway.api.json_bodies import success
from gateway.api.queues import dead_entries
from gateway.errors import InvalidRequest
from gateway.findings.finding import together
from gateway.metrics.canary import CanaryOutcome, CanaryOutcomes
from gateway.metrics.events import together as events_together
from gateway.metrics.nginx_last_asked import NginxLastAsked
from gateway.metrics.recent_errors import RecentErrors
from gateway.metrics.registry import OptionalGauge, gauge_value
from gateway.monitoring.health import Health
from gateway.monitoring.this_replica import ThisReplica
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.presign.credentials.rotation import BucketCredentials, RotatingCredentials
from gateway.presign.url_lifetime import CosClock
from gateway.process.log_format import redact
from gateway.process.logs import DebugLog
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_queue.leased_queue import LeasedQueue

_MINUTES_AHEAD = 15
_TIME: Final = re.compile(r"[0-9]{1,10}")  # in Unix seconds


@dataclass(frozen=True, slots=True)
class DependencyStates:
    """The states of Postgres, Redis, COS and nginx, and what the canary sees from outside, collected for the console.

    trigger_watch: None without ``postgres.listen``.
    """

    health: Health
    clock: CosClock
    credentials: BucketCredentials
    trigger_watch: TriggerWatch | None
    canary: CanaryOutcomes
    nginx: NginxLastAsked

    async def facts(self) -> Mapping[str, Any]:
        """Return the facts for the console. The next facts have the present state of the change trigger."""
        if self.trigger_watch is not None:
            self.trigger_watch.look_soon()
        report, seconds = await self.health.report(), self.health.seconds
        reasons = {name: redact(reason) for name, reason in report.reasons.items()}
        dependencies = [
            {"name": name, "state": state, "seconds": seconds.get(name), "reason": reasons.get(name)}
            for name, state in report.checks.items()
        ]
        return {
            "now": self.clock.now(),
            "machine_now": self.clock.local(),  # points and events are recorded by it
            "status": report.status.value,
            "dependencies": [*_outside(self.canary.latest), *dependencies],
            "clock_difference": self.clock.observed_offset,
            "credentials": [_credentials(source) for source in self.credentials.all],
            "nginx": [{"name": name, "seconds": round(seconds, 1)} for name, seconds in self.nginx.seconds().items()],
        }


@dataclass(frozen=True, slots=True)
class Console:
    """Handler that the console, the web page for operators, polls for what it shows.

    queue: the queue of URLs to renew, None without Redis. ``lag``: for how many seconds its first URL has been due.
    address: the host and port by which commands on this machine reach the admin port. None: as the browser does.
    """

    dependencies: DependencyStates
    replica: ThisReplica
    queue: LeasedQueue | None
    lag: OptionalGauge
    errors: RecentErrors
    admin_guard: AdminGuard
    debug_log: DebugLog
    address: str | None

    async def console(self, request: web.Request) -> web.Response:
        """Return what the console shows. ``since`` (Unix seconds) leaves out the points up to that time."""
        text = request.query.get("since", "0")
        if not _TIME.fullmatch(text):
            raise InvalidRequest("since must be a time in Unix seconds")
        return success(
            {
                **await self.dependencies.facts(),
                "can_change": self.admin_guard.token.value is not None,
                "points": self.replica.history.as_json(int(text)),
                "errors": [asdict(error) for error in self.errors.newest()],
                **await self._replicas(),
                "renewals": await self._renewals(),
                "debug_until": self.debug_log.until,
            }
        )

    async def _replicas(self) -> Mapping[str, Any]:
        """Return all replicas, their problems and events, the worst first. While Redis is down, only of this replica.

        ``replica`` is the name of this replica; ``commands`` and ``address`` are how commands run beside it.
        """
        this = await self.replica.look()
        points = {point.name: point for point in await self.replica.others()} | {this.name: this}
        return {
            "replica": this.name,
            "commands": self.replica.commands,
            "address": self.address,
            "replicas": [points[name].as_json() for name in sorted(points)],
            "symptoms": together({name: points[name].symptoms for name in sorted(points)}),
            "events": events_together(
                self.replica.events.all(),
                [(name, event) for name, point in points.items() if name != this.name for event in point.events],
            ),
        }

    async def _renewals(self) -> Mapping[str, Any] | None:
        """Return the state of the queue, or None while Redis does not answer, or without it."""
        if self.queue is None:
            return None
        now, lag = self.dependencies.clock.now(), gauge_value(self.lag)
        try:
            lengths = await self.queue.state(now)
            by_minute = await self.queue.due_by_step(now, 60, _MINUTES_AHEAD)
            dead = await dead_entries(self.queue)
        except CacheUnavailable:
            return None
        return {
            "queued": lengths.queued,
            "due": lengths.due,
            "dead": lengths.dead,
            "lag_seconds": lag if math.isfinite(lag) else None,
            "by_minute": by_minute,
            "dead_entries": dead,
        }


def _outside(outcomes: Sequence[CanaryOutcome]) -> list[Mapping[str, Any]]:
    """Return the one light of what the canary sees from outside. Empty without a canary, and before its first round."""
    if not outcomes:
        return []
    failing = [outcome for outcome in outcomes if outcome.is_up is False]
    wrong = [outcome for outcome in outcomes if outcome.is_up is None]
    slowest = max((outcome.seconds for outcome in outcomes if outcome.seconds is not None), default=None)
    told = "; ".join(f"{outcome.via} {outcome.check}: {outcome.what}" for outcome in failing or wrong)
    state = "down" if failing else "degraded" if wrong else "ok"
    return [{"name": "outside", "state": state, "seconds": slowest, "reason": told or None}]


def _credentials(rotating: RotatingCredentials) -> Mapping[str, Any]:
    """Return the state of a source's credentials: ``ok``, ``ending`` (in the last fifth of their life) or ``ended``."""
    left = rotating.seconds_left
    state = "ended" if left == 0 else "ending" if rotating.is_near_end else "ok"
    return {
        "source": rotating.name,
        "buckets": list(rotating.buckets),
        "state": state,
        "seconds_left": round(left) if left is not None else None,
        "reason": redact(rotating.reason) if state != "ok" and rotating.failures else None,
    }
