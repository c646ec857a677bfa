"""Traces by OpenTelemetry. Without tracing, none of its packages are loaded."""


class UnusableTracing(ValueError):
    """Traces cannot be sent, because a variable of OpenTelemetry is wrong. The message names the variable."""
