"""``GET /api/v1/monitoring/console``, which the console polls, and the switch of the debug log."""

import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.api.admin import admin_only
from gateway.api.app_keys import (
    ADMIN_GUARD,
    CLOCK,
    CREDENTIALS,
    DEBUG_LOG,
    HEALTH,
    HISTORY,
    METRICS,
    ORIGIN,
    REFRESH_QUEUE,
    RELOADER,
    REPLICA_STORE,
    SETTINGS,
)
from gateway.api.host_guard import known_host_only
from gateway.api.json_body import json_body
from gateway.api.json_responses import success
from gateway.api.queue_listing import dead_entries, variant_names
from gateway.errors import InvalidRequest
from gateway.metrics.history import gauge_value, read
from gateway.monitoring.health import Report
from gateway.monitoring.symptoms import Observations, symptoms
from gateway.presign.credentials.rotation import RotatingCredentials
from gateway.process.log_format import redact
from gateway.redis_store.guarded_client import CacheUnavailable

_MINUTES_AHEAD = 15
_MOST_DIGITS = 10  # of a time in Unix seconds


@known_host_only
async def console(request: web.Request) -> web.Response:
    """Return what the console shows; ``since`` (Unix seconds) leaves out the points up to then."""
    app, since = request.app, _since(request)
    report = await app[HEALTH].report()
    history = app[HISTORY]
    return success(
        {
            "now": app[CLOCK].now(),
            "status": report.status.value,
            "can_change": app[ADMIN_GUARD].has_token,
            "symptoms": [symptom.as_json() for symptom in symptoms(_observations(app, report))],
            "dependencies": [_dependency(report, name, app[HEALTH].seconds.get(name)) for name in report.checks],
            "clock_difference": app[CLOCK].observed_offset,
            "credentials": [_credentials(one) for one in app[CREDENTIALS].all],
            "points": {
                "fine": [point.as_json() for point in history.fine(since)],
                "coarse": [point.as_json() for point in history.coarse(since)],
            },
            "errors": [error.as_json() for error in app[METRICS].recent_errors.newest()],
            "replicas": await _replicas(app),
            "renewals": await _renewals(app),
            "debug_until": app[DEBUG_LOG].until,
        }
    )


@known_host_only
async def totals(request: web.Request) -> web.Response:
    """Return the totals of this process since its start, of which the points are made."""
    metrics, now = request.app[METRICS], request.app[CLOCK].now()
    reading = read(metrics, now)
    return success(
        {
            "counts": reading.counts,
            "durations": reading.durations,
            "bounds": metrics.requests.bounds,
            "errors": [error.as_json() for error in metrics.recent_errors.newest()],
        }
    )


@known_host_only
async def configuration(request: web.Request) -> web.Response:
    """Return the configuration in use, and the keys whose new value needs a restart; secrets are ``**********``."""
    reloader = request.app[RELOADER]
    return success(
        {"settings": reloader.settings.model_dump(mode="json"), "needs_restart": list(reloader.need_restart)}
    )


@known_host_only
@admin_only
async def debug(request: web.Request) -> web.Response:
    """Turn the debug log on for ten minutes, or off: ``{"on": bool}``."""
    match await json_body(request):
        case {"on": bool(on)}:
            switch = request.app[DEBUG_LOG]
            (switch.start if on else switch.stop)()
            return success({"debug_until": switch.until})
        case _:
            raise InvalidRequest('the body must be {"on": true} or {"on": false}')


def _since(request: web.Request) -> float:
    text = request.query.get("since", "0")
    # int() raises for more than 4,300 digits (sys.int_info.default_max_str_digits).
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidRequest("since must be a time in Unix seconds")
    return int(text)


def _observations(app: web.Application, report: Report) -> Observations:
    metrics = app[METRICS]
    credentials = [one.seconds_left for one in app[CREDENTIALS].all if one.seconds_left is not None]
    return Observations(
        points=app[HISTORY].fine(),
        checks=report.checks,
        is_draining=app[HEALTH].is_draining,
        paused_buckets=[bucket for bucket in app[SETTINGS].cos.regions if app[ORIGIN].is_paused(bucket)],
        clock_difference=app[CLOCK].observed_offset,
        credentials_left=min(credentials, default=None),
        trigger_installed=gauge_value(metrics.change_trigger_installed),
        reload_successful=gauge_value(metrics.config_last_reload_successful),
        renewal_lag=gauge_value(metrics.refresh_lag),
        dead=gauge_value(metrics.refresh_dead),
        purge_lag=gauge_value(metrics.purge_lag),
        purge_dead=gauge_value(metrics.purge_dead),
    )


def _dependency(report: Report, name: str, seconds: float | None) -> Mapping[str, Any]:
    reason = report.reasons.get(name)
    return {
        "name": name,
        "state": report.checks[name],
        "seconds": seconds,
        "reason": redact(reason) if reason is not None else None,
    }


def _credentials(rotating: RotatingCredentials) -> Mapping[str, Any]:
    """Return the state of one source of credentials: ``ok``, ``ending`` (their last fifth) or ``ended``."""
    left = rotating.seconds_left
    state = "ended" if left == 0 else "ending" if rotating.is_near_end else "ok"
    return {
        "source": rotating.name,
        "buckets": list(rotating.buckets),
        "state": state,
        "seconds_left": round(left) if left is not None else None,
        "reason": redact(rotating.reason) if state != "ok" and rotating.is_failing else None,
    }


async def _replicas(app: web.Application) -> list[Mapping[str, Any]] | None:
    """Return the last point of each replica; None while Redis does not answer, or without it."""
    if REPLICA_STORE not in app:
        return None
    try:
        return [point.as_json() for point in await app[REPLICA_STORE].read(app[CLOCK].now())]
    except CacheUnavailable:
        return None


async def _renewals(app: web.Application) -> Mapping[str, Any] | None:
    """Return the state of the queue; None while Redis does not answer, or without it."""
    queue, now = app.get(REFRESH_QUEUE), app[CLOCK].now()
    if queue is None:
        return None
    try:
        lengths = await queue.lengths(now)
        by_minute = await queue.due_by_step(now, 60, _MINUTES_AHEAD)
        dead = await dead_entries(queue, variant_names)
    except CacheUnavailable:
        return None
    lag = gauge_value(app[METRICS].refresh_lag)
    return {
        "queued": lengths.queued,
        "due": lengths.due,
        "dead": lengths.dead,
        "lag_seconds": lag if math.isfinite(lag) else None,
        "by_minute": by_minute,
        "dead_entries": dead,
    }
