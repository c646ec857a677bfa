"""Traces by OpenTelemetry. Without tracing, none of its packages are loaded."""
