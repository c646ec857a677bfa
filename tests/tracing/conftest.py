"""A collector, and the environment that sends traces to it."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.limits import LIMIT
from tests.tracing.collector import Collector


@pytest.fixture(autouse=True)
def no_export_goes_on() -> Iterator[None]:
    """After each test, wait for the threads that export: their retries use `random`, which Hypothesis forbids."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            thread.join(LIMIT)
            assert not thread.is_alive(), "the export of spans goes on after its gateway"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that gateways find; to be requested before them."""
    async with Collector.running() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")  # a late answer would be sent again, or lost
        yield running
