"""``POST /api/v1/monitoring/beacons``: the accepted reports, and their effect on ``/metrics``."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.api.beacons import BURST, MAX_BODY
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.redis_server import RedisServer
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
    headers = {"Content-Type": content_type, "X-Forwarded-For": forwarded_for}
    return await gateway.request("POST", PATH, data=body, headers=headers)


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "text/plain", "application/json"])
async def test_a_beacon_is_counted_and_answered_without_a_body(gateway: RunningGateway, content_type: str) -> None:
    answer = await send(gateway, content_type=content_type)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    exposed = (await gateway.request("GET", "/metrics", admin=True)).body.decode()
    assert 'image_gateway_client_loads_total{result="loaded"} 2.0' in exposed
    assert 'image_gateway_client_loads_total{result="failed"} 1.0' in exposed
    assert 'image_gateway_client_beacons_total{result="accepted"} 1.0' in exposed


async def test_a_page_of_another_site_may_send_one(gateway: RunningGateway) -> None:
    preflight = await gateway.request("OPTIONS", PATH, headers={"Origin": "https://shop.example"})
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "OPTIONS, POST"
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"


async def test_credentials_are_not_read(gateway: RunningGateway) -> None:
    """Browsers add the page's cookies; an expired token in one is no reason to lose the report."""
    headers = {"Authorization": "Bearer for.ged.token"}
    assert (await gateway.request("POST", PATH, json={"version": 1}, headers=headers)).status == 204


async def test_pages_learn_that_the_gateway_takes_beacons(gateway: RunningGateway) -> None:
    assert (await gateway.get("/static/config.json")).json()["features"]["beacons"] is True


def padded(size: int) -> bytes:
    return BEACON + b" " * (size - len(BEACON))


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{}", "text/plain", 400, "invalid_beacon"),
        (b"", "application/json", 400, "invalid_beacon"),
        (padded(MAX_BODY + 1), "text/plain", 413, "payload_too_large"),
        (BEACON, "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (BEACON, "text/plain2", 415, "unsupported_media_type"),
    ],
)
async def test_another_body_is_refused_and_counted_by_its_code(
    gateway: RunningGateway, body: bytes, content_type: str, status: int, code: str
) -> None:
    answer = await send(gateway, body, content_type)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert gateway.sample("client_beacons_total", result=code) == 1
    assert gateway.sample("client_loads_total", result="loaded") == 0
    exposed = await gateway.request("GET", "/metrics", admin=True)
    assert exposed.status == 200


async def test_the_largest_body_is_accepted(gateway: RunningGateway) -> None:
    assert (await send(gateway, padded(MAX_BODY))).status == 204


async def sent_until_refused(gateway: RunningGateway, address: str) -> tuple[int, Answer]:
    """Send beacons from an address until one is refused. Return how many were accepted, and the refusal."""
    for number in range(BURST * 10):
        answer = await send(gateway, forwarded_for=address)
        if answer.status != 204:
            return number, answer
    raise AssertionError("no limit")


async def test_one_client_is_limited_and_others_are_not(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(server={"trusted_proxies": ["127.0.0.1"]})
    accepted, refused = await sent_until_refused(gateway, "192.0.2.7")
    assert accepted >= BURST
    assert (refused.status, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "1"
    assert gateway.sample("client_beacons_total", result="too_many_requests") == 1
    assert (await send(gateway, forwarded_for="192.0.2.8")).status == 204


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


async def test_another_subscriber_of_ipv6_is_another_client(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(server={"trusted_proxies": ["127.0.0.1"]})
    await sent_until_refused(gateway, "2001:db8:0:1::7")
    assert (await send(gateway, forwarded_for="2001:db8:0:2::7")).status == 204


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for only one test."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres for only one test, with the table."""
    with PostgresServer(tmp_path / "postgres") as server:
        ImagesTable(server.dsn).create()
        yield server


async def test_beacons_are_counted_while_redis_and_postgres_are_down(
    start_gateway: StartGateway, own_redis: RedisServer, own_postgres: PostgresServer
) -> None:
    gateway = await start_gateway(redis={"url": own_redis.url}, postgres={"dsn": own_postgres.dsn})
    await asyncio.to_thread(own_redis.kill)
    await asyncio.to_thread(own_postgres.kill)
    assert (await send(gateway)).status == 204
    assert gateway.sample("client_loads_total", result="loaded") == 2
