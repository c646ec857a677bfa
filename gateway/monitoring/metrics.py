"""The metrics of what watches the gateway: the loop's lag, the change trigger, Redis, the state of dependencies."""

import asyncio
from typing import Final

from prometheus_client import Histogram

from gateway.metrics.registry import Registry

_LAG_INTERVAL: Final = 0.05  # seconds; twenty wake-ups a second cost less than a thousandth of a core


class MonitoringMetrics:
    """Metrics of the event loop's delay, of Postgres's change trigger, of Redis, and of each dependency's state."""

    def __init__(self, registry: Registry) -> None:
        self.event_loop_lag = registry.histogram(
            "event_loop_lag_seconds", "Delay of a timer of the event loop, measured twenty times a second."
        )
        self.change_trigger_installed = registry.gauge(
            "change_trigger_installed", "1 if changes of rows are notified, 0 if not; NaN if that is not known."
        )
        self.change_trigger_installed.set(float("nan"))
        self.background_errors = registry.background_errors
        self.dependency_up = registry.gauge(
            "dependency_up",
            "1 if the last check of the dependency, which does what requests do, succeeded, else 0.",
            ("dependency",),
        )
        self.invalidation_receivers = registry.optional_gauge(
            "invalidation_receivers",
            "Processes that receive the invalidations of this one, itself included; absent while that is not known.",
        )
        self.redis_evicts = registry.optional_gauge(
            "redis_evicts_unending",
            "1 if Redis, when full, also evicts keys without an end, else 0; absent while that is not known.",
        )


async def measure_loop_lag(lag: Histogram, interval: float = _LAG_INTERVAL) -> None:
    """Observe how late the event loop runs a timer, until cancelled: the delay of all work on the loop.

    Its cause is a long callback, a busy processor, or a thread that holds the interpreter's lock.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        lag.observe(max(0.0, loop.time() - due))
