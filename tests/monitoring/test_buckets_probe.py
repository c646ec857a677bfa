"""The readiness of several buckets: asked at once, each named when it fails."""

import asyncio
import time

import pytest

from gateway.errors import OriginUnavailable
from gateway.metrics.collectors import Metrics
from gateway.monitoring.buckets_probe import BucketsProbe

ADDRESSES = {"a-1": "https://a/", "b-1": "https://b/", "c-1": "https://c/"}


async def cos(address: str) -> float | None:
    """Answer for a, refuse for b, hang for c."""
    if address == "https://b/":
        raise OriginUnavailable("ClientConnectorError")
    if address == "https://c/":
        await asyncio.Event().wait()
    return 1_700_000_000.0


def up(metrics: Metrics, bucket: str) -> float | None:
    """Return the value of the bucket's metric."""
    name = "image_gateway_dependency_up"
    return metrics.registry.get_sample_value(name, {"dependency": f"cos:{bucket}"})


async def test_every_bucket_that_fails_is_named_and_none_waits_for_another() -> None:
    metrics, observed, began = Metrics(), list[float | None](), time.monotonic()
    with pytest.raises(OriginUnavailable) as down:
        await BucketsProbe(cos, ADDRESSES, metrics, observed.append, timeout=1).probe()
    assert str(down.value) == "bucket b-1: ClientConnectorError; bucket c-1: no answer within 1 s"
    assert [up(metrics, bucket) for bucket in ADDRESSES] == [1, 0, 0]
    assert observed == [1_700_000_000.0], "the time of the default bucket alone"
    assert time.monotonic() - began < 30


async def test_one_bucket_has_no_metric_besides_that_of_the_dependency() -> None:
    metrics, observed = Metrics(), list[float | None]()
    await BucketsProbe(cos, {"a-1": "https://a/"}, metrics, observed.append).probe()
    assert (up(metrics, "a-1"), observed) == (None, [1_700_000_000.0])


async def test_a_default_bucket_that_fails_tells_no_time() -> None:
    observed = list[float | None]()
    with pytest.raises(OriginUnavailable):
        await BucketsProbe(cos, {"b-1": "https://b/", "a-1": "https://a/"}, Metrics(), observed.append).probe()
    assert observed == []
