"""``POST /api/v1/monitoring/beacons``: the accepted reports, their strict form, and their effect on ``/metrics``."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from gateway.api.beacons import (
    BURST,
    LOAD_SECONDS,
    MAX_ATTEMPTS,
    MAX_BODY,
    MAX_BYTES,
    MAX_LOADS,
    MAX_RETRIES,
    MAX_SECONDS,
    PAINT_SECONDS,
    PICTURE_BYTES,
    Beacon,
    BytesSource,
    FailureKind,
    LoadResult,
)
from gateway.errors import InvalidBeacon
from gateway.service.metrics import Metrics
from tests.conftest import Answer, RunningGateway, StartGateway

PATH = "/api/v1/monitoring/beacons"
BEACON = json.dumps({"version": 1, "loads": {"loaded": 2, "failed": 1}}).encode()


async def send(
    gateway: RunningGateway,
    body: bytes = BEACON,
    content_type: str = "text/plain;charset=UTF-8",
    *,
    forwarded_for: str = "",
) -> Answer:
    # Browsers add the page's cookies; an expired token in one is no reason to lose the report.
    headers = {"Content-Type": content_type, "X-Forwarded-For": forwarded_for, "Authorization": "Bearer for.ged.token"}
    return await gateway.request("POST", PATH, data=body, headers=headers)


def padded(size: int) -> bytes:
    return BEACON + b" " * (size - len(BEACON))


async def test_a_beacon_is_counted_and_answered_without_a_body(gateway: RunningGateway) -> None:
    for body, content_type in (
        (BEACON, "text/plain;charset=UTF-8"),
        (BEACON, "Text/Plain ;x*"),
        (padded(MAX_BODY), "application/json"),
    ):
        answer = await send(gateway, body, content_type)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = (await gateway.request("GET", "/metrics", admin=True)).body.decode()
    assert 'image_gateway_client_loads_total{result="loaded"} 6.0' in exposed
    assert 'image_gateway_client_loads_total{result="failed"} 3.0' in exposed
    assert 'image_gateway_client_beacons_total{result="accepted"} 3.0' in exposed


async def test_another_body_is_refused_and_counted_by_its_code(gateway: RunningGateway) -> None:
    for body, content_type, status, code, count in (
        (b"{}", "text/plain", 400, "invalid_beacon", 1),
        (b"", "application/json", 400, "invalid_beacon", 2),
        (padded(MAX_BODY + 1), "text/plain", 413, "payload_too_large", 1),
        (BEACON, "application/x-www-form-urlencoded", 415, "unsupported_media_type", 1),
        (BEACON, "text/plain2", 415, "unsupported_media_type", 2),
        (BEACON, ";x*", 415, "unsupported_media_type", 3),
        (BEACON, "(" * 1000, 415, "unsupported_media_type", 4),
    ):
        answer = await send(gateway, body, content_type)
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert gateway.sample("client_beacons_total", result=code) == count
    assert gateway.sample("client_loads_total", result="loaded") == 0


async def sent_until_refused(gateway: RunningGateway, address: str) -> tuple[int, Answer]:
    """Send beacons from an address until one is refused. Return how many were accepted, and the refusal."""
    for number in range(BURST * 10):
        answer = await send(gateway, forwarded_for=address)
        if answer.status != 204:
            return number, answer
    raise AssertionError("no limit")


@pytest.mark.parametrize(
    ("client", "other"), [("192.0.2.7", "192.0.2.8"), ("2001:db8:0:1::7", "2001:db8:0:2::7")], ids=["ipv4", "ipv6"]
)
async def test_one_client_is_limited_and_others_are_not(start_gateway: StartGateway, client: str, other: str) -> None:
    gateway = await start_gateway(server={"trusted_proxies": ["127.0.0.1"]})
    accepted, refused = await sent_until_refused(gateway, client)
    assert accepted >= BURST
    assert (refused.status, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "1"
    assert gateway.sample("client_beacons_total", result="too_many_requests") == 1
    assert (await send(gateway, forwarded_for=other)).status == 204


@pytest.mark.parametrize(
    ("trusted", "same"),
    [(["127.0.0.1"], ("2001:db8:0:1::7", "2001:db8:0:1:ffff::1")), ([], ("192.0.2.7", "192.0.2.8"))],
    ids=["a-subscriber-of-ipv6", "without-a-trusted-proxy"],
)
async def test_a_client_has_no_second_limit_at_another_address(
    start_gateway: StartGateway, trusted: list[str], same: tuple[str, str]
) -> None:
    gateway = await start_gateway(server={"trusted_proxies": trusted})
    await sent_until_refused(gateway, same[0])
    assert (await sent_until_refused(gateway, same[1]))[0] < BURST


async def test_beacons_are_counted_while_redis_and_postgres_are_down(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(redis={"url": "redis://127.0.0.1:1"}, postgres={"dsn": "host=127.0.0.1 port=1"})
    assert (await send(gateway)).status == 204
    assert gateway.sample("client_loads_total", result="loaded") == 2


WEB = Path(__file__).parents[2] / "gateway" / "web" / "src" / "core"
BUCKETS = len(LOAD_SECONDS) + 1


def parse(**members: Any) -> Beacon:
    return Beacon.parse(json.dumps({"version": 1, **members}).encode())


def times(*buckets: int, total: float = 0, count: int | None = None) -> dict[str, Any]:
    """Return a histogram; buckets that are left out are empty."""
    filled = [*buckets, *[0] * (BUCKETS - len(buckets))]
    return {"buckets": filled, "sum": total, "count": sum(buckets) if count is None else count}


def test_a_beacon_adds_its_counts_to_the_metrics() -> None:
    metrics = Metrics()
    parse().count_in(metrics.beacons)
    assert metrics.registry.get_sample_value("image_gateway_client_load_seconds_count") == 0
    for _ in range(2):
        parse(
            loads={"loaded": 3, "recovered": 1, "failed": 2, "fallback": 1},
            retries={"network": 2, "unavailable": 1},
            sources={"cache": 1, "network": 3},
            attempts=10,
            seconds=times(1, 0, 2, 0, 0, 0, 0, 0, 0, 1, total=41.5),
            paints={"network": times(0, 0, 0, 1, total=1.2)},
            sizes={"network": times(0, 2, total=4000), "cache": times(*[0] * 9, 1, total=2e7)},
        ).count_in(metrics.beacons)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"image_gateway_client_{name}", labels)

    loads = {result: sample("loads_total", result=result) for result in get_args(LoadResult)}
    assert loads == {"loaded": 6, "recovered": 2, "failed": 4, "fallback": 2}
    assert sample("retries_total", reason="network") == 4
    assert sample("retries_total", reason="unavailable") == 2
    assert sample("retries_total", reason="timeout") == 0, "there from the start"
    assert (sample("sources_total", source="cache"), sample("sources_total", source="network")) == (2, 6)
    assert sample("attempts_total") == 20
    assert sample("load_seconds_bucket", le="0.05") == 2
    assert sample("load_seconds_bucket", le="0.25") == 6
    assert sample("load_seconds_bucket", le="30.0") == 6
    assert sample("load_seconds_bucket", le="+Inf") == sample("load_seconds_count") == 8
    assert sample("load_seconds_sum") == 83
    assert sample("paint_seconds_bucket", source="network", le="1.5") == 2
    assert sample("paint_seconds_sum", source="network") == 2.4
    assert sample("paint_seconds_count", source="cache") is None
    assert sample("picture_bytes_bucket", source="network", le="1000.0") == 0
    assert sample("picture_bytes_bucket", source="network", le="3000.0") == 4
    assert sample("picture_bytes_bucket", source="cache", le="10000000.0") == 0
    assert sample("picture_bytes_sum", source="cache") == 4e7


LONGEST = {"loads": {"loaded": 1}, "seconds": times(*[0] * (BUCKETS - 1), 1, total=MAX_SECONDS)}
LATEST = {"paints": {"unknown": times(1, total=MAX_SECONDS)}}
LARGEST = {"loads": {"loaded": 1}, "sizes": {"cache": times(1, total=MAX_BYTES)}}


@pytest.mark.parametrize(
    ("members", "counter", "labels", "value"),
    [
        ({"loads": {"loaded": MAX_LOADS}}, "loads_total", {"result": "loaded"}, MAX_LOADS),
        ({"retries": {"decode": MAX_RETRIES}}, "retries_total", {"reason": "decode"}, MAX_RETRIES),
        ({"attempts": MAX_ATTEMPTS}, "attempts_total", {}, MAX_ATTEMPTS),
        (LONGEST, "load_seconds_sum", {}, MAX_SECONDS),
        ({"loads": {"loaded": 1}, "seconds": times(1, total=0)}, "load_seconds_count", {}, 1),
        (LATEST, "paint_seconds_sum", {"source": "unknown"}, MAX_SECONDS),
        (LARGEST, "picture_bytes_sum", {"source": "cache"}, MAX_BYTES),
    ],
)
def test_the_largest_counts_are_counted(
    members: dict[str, Any], counter: str, labels: dict[str, str], value: float
) -> None:
    metrics = Metrics()
    parse(**members).count_in(metrics.beacons)
    assert metrics.registry.get_sample_value(f"image_gateway_client_{counter}", labels) == value


@pytest.mark.parametrize(
    "members",
    [
        {"version": 2},
        {"version": "1"},
        {"version": True},
        {"version": None},
        {"image_id": "cat"},
        {"loads": {"cat": 1}},
        {"loads": {"loaded": -1}},
        {"loads": {"loaded": 1.5}},
        {"loads": {"loaded": "1"}},
        {"loads": {"loaded": True}},
        {"loads": {"loaded": None}},
        {"loads": {"loaded": 10**400}},
        {"loads": {"loaded": MAX_LOADS + 1}},
        {"loads": {"loaded": MAX_LOADS, "failed": 1}},
        {"loads": [1]},
        {"retries": {"https://photos.example/?q-signature=x": 1}},
        {"retries": {"network": MAX_RETRIES, "decode": 1}},
        {"attempts": MAX_ATTEMPTS + 1},
        {"attempts": -1},
        {"sources": {"cache": 1}},
        {"sources": {"disk": 1}, "loads": {"loaded": 1}},
        {"seconds": times(1)},
        {"seconds": {"buckets": [0] * BUCKETS, "sum": 0}},
        {"seconds": {**times(), "max": 1}},
        {"loads": {"loaded": 9}, "seconds": times(1, count=2)},
        {"loads": {"loaded": 9}, "seconds": times(1, total=-0.1)},
        {"loads": {"loaded": 9}, "seconds": times(1, total=float("nan"))},
        {"loads": {"loaded": 9}, "seconds": times(1, total=float("inf"))},
        {"loads": {"loaded": 9}, "seconds": times(1, total=10**400)},
        {"loads": {"loaded": 9}, "seconds": times(1, total=MAX_SECONDS + 1)},
        {"loads": {"loaded": 9}, "seconds": {"buckets": [0] * (BUCKETS - 1), "sum": 0, "count": 0}},
        {"loads": {"loaded": 9}, "seconds": {"buckets": [0] * (BUCKETS + 1), "sum": 0, "count": 0}},
        {"loads": {"loaded": 9}, "seconds": times(2, -1, count=1)},
        {"loads": {"loaded": 9}, "paints": {"network": times(1), "cache": times(1)}},
        {"loads": {"loaded": 9}, "paints": {"network": times(2)}},
        {"loads": {"loaded": 9}, "paints": {"network": times(1, total=MAX_SECONDS + 1)}},
        {"loads": {"loaded": 9}, "paints": {"disk": times(1)}},
        {"loads": {"loaded": 9}, "sizes": {"unknown": times(1)}},
        {"loads": {"loaded": 1}, "sizes": {"network": times(1), "cache": times(1)}},
        {"loads": {"loaded": 9}, "sizes": {"network": times(1, total=MAX_BYTES + 1)}},
    ],
    ids=lambda members: json.dumps(members)[:50],
)
def test_anything_else_is_refused_without_an_echo(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidBeacon) as refused:
        parse(**members)
    assert refused.value.message == InvalidBeacon.message
    assert str(refused.value) == InvalidBeacon.message


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"1", b"{", b"{}", b'{"version":1}x', b"\xff", b"[" * 16_000])
def test_a_body_that_is_no_beacon_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBeacon):
        Beacon.parse(body)


def test_browsers_count_by_the_same_bounds_and_labels() -> None:
    monitor = (WEB / "monitor.ts").read_text(encoding="utf-8")
    failure = (WEB / "failure.ts").read_text(encoding="utf-8")

    def union(source: str, name: str) -> list[str]:
        (members,) = re.findall(rf"export type {name} =(.*?);", re.sub(r"//.*", "", source), re.DOTALL)
        return re.findall(r'"(\w+)"', members)

    found = [tuple(map(float, numbers.split(","))) for numbers in re.findall(r"BOUNDS\b.*?= \[(.*?)\]", monitor)]
    assert found == [LOAD_SECONDS, PAINT_SECONDS, PICTURE_BYTES]
    state = (WEB.parents[1] / "console" / "state.js").read_text(encoding="utf-8")
    shown = [tuple(map(float, numbers.split(","))) for numbers in re.findall(r"bounds: \[(.*?)\]", state)]
    assert shown == [PAINT_SECONDS, PICTURE_BYTES]
    assert union(monitor, "LoadResult") == [*get_args(LoadResult)]
    assert union(monitor, "BytesSource") == [*get_args(BytesSource)]
    assert union(failure, "FailureKind") == [*get_args(FailureKind)]
