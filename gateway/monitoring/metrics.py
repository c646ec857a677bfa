"""The metrics of what watches the gateway: the event loop, the change trigger, the state of dependencies."""

from gateway.metrics.registry import Registry


class MonitoringMetrics:
    """The delay of the event loop, and whether the trigger and each dependency are as they should be."""

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
