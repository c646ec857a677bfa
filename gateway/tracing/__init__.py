"""Traces of requests, and of the calls to COS, Redis and Postgres that they make (OpenTelemetry)."""
