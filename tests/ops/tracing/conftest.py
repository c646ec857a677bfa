"""A collector, and the environment that sends traces to it."""

from collections.abc import AsyncIterator

import pytest

from tests.ops.tracing.collector import Collector


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that gateways find; to be requested before them."""
    async with Collector.running() as one:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", one.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # a late answer would be sent again, or lost
        yield one
