"""The metric for a late event loop."""

import asyncio
import time

from gateway.concurrency.background import background
from gateway.monitoring.metrics import measure_loop_lag
from gateway.service.metrics import Metrics
from tests.waiting import until

NAME = "image_gateway_event_loop_lag_seconds"


async def test_a_blocked_loop_shows_in_the_metric() -> None:
    metrics = Metrics()

    def late() -> float:
        sample = metrics.registry.get_sample_value
        return (sample(f"{NAME}_count") or 0) - (sample(f"{NAME}_bucket", {"le": "0.1"}) or 0)

    async with background("loop-lag", measure_loop_lag(metrics.monitoring.event_loop_lag, interval=0.001)):
        await until(lambda: metrics.registry.get_sample_value(f"{NAME}_count"), what="a measurement")
        before = late()
        ends_at = time.monotonic() + 0.15
        while time.monotonic() < ends_at:  # not time.sleep(), which the tests forbid on a loop
            pass
        await asyncio.sleep(0)
        await until(lambda: late() > before, what="the lag")
