"""Traces by OpenTelemetry. Without tracing, none of its packages are loaded."""


class UnusableTracing(ValueError):
    """Traces cannot be sent as the variables of OpenTelemetry say. The message names the variable."""
