"""``delivery: accel`` behind an nginx without a location for the prefix: response, log and metric report it."""

import logging

import aiohttp
import pytest

from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.nginx_files import GATEWAY_CONF, PRIVATE_CACHE_CONF
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.test_accel import LARGE, SMALL
from tests.raw_client import exchange, statuses

ASKED_BY_OTHERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/i/a", {}),
    ("HEAD", "/i/a", {}),
    ("GET", "/i/a?style=small", {}),
    ("GET", "/i/a", {"Range": "bytes=0-1"}),
    ("GET", "/i/a", {"If-None-Match": "*"}),
    ("GET", "/api/v1/images/a/proxy", {"X-Accel-Failed": "1"}),
    ("GET", "/i/a", {CONFIG_VERSION: "accel.conf"}),
    ("GET", "/i/a", {CONFIG_VERSION: PRIVATE_CACHE_CONF}),
)


@pytest.mark.parametrize("has_cache", [False, True])
async def test_accel_behind_gateway_conf_is_reported(
    start_nginx: StartNginx,
    gateway: RunningGateway,
    images: Images,
    caplog: pytest.LogCaptureFixture,
    has_cache: bool,
) -> None:
    nginx = await start_nginx(in_front_of(gateway.address, "gateway.conf", has_cache=has_cache))
    await images.add("a", SMALL)
    for _ in range(3):
        answer = await nginx.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (500, "accel_not_configured")
        assert answer.headers["Cache-Control"] == "no-store"
    assert gateway.sample("accel_not_configured_total") == 3
    assert gateway.sample("requests_total", route="short", delivery="accel", status="500") == 3
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "config/nginx/accel.conf" in record.getMessage()


async def test_whoever_is_not_accel_conf_gets_an_error_and_no_url(start_gateway: StartGateway, images: Images) -> None:
    """Any other proxy would send an empty picture, keep it, and give the presigned URL away."""
    gateway = await start_gateway(
        image_proxy={"delivery": "accel"}, image_styles={"small": "imageMogr2/thumbnail/100x"}
    )
    await images.add("a", SMALL)
    async with aiohttp.ClientSession(gateway.ports.public) as session:
        for number, (method, path, headers) in enumerate(ASKED_BY_OTHERS, 1):
            async with session.request(method, path, headers=headers) as answer:
                assert (answer.status, answer.headers["Cache-Control"]) == (500, "no-store")
                assert not {"X-Accel-Redirect", "X-Origin-URL"} & set(answer.headers)
                assert method == "HEAD" or (await answer.json())["code"] == "accel_not_configured"
            assert gateway.sample("accel_not_configured_total") == number
    assert gateway.sample("nginx_config_mismatches_total") == 1


async def test_every_address_below_the_prefix_is_counted(gateway: RunningGateway) -> None:
    for path in ("/_cos/", "/_cos/part/x", "/_cos/x?y=z", "/_cos/a%2Fb", "/_cos/a%0Ab"):
        before = gateway.sample("accel_not_configured_total")
        for method in ("GET", "HEAD", "POST", "OPTIONS"):
            assert (await gateway.request(method, path, headers={CONFIG_VERSION: GATEWAY_CONF})).status == 500
        assert gateway.sample("accel_not_configured_total") == before + 4, path


async def test_through_accel_conf_the_prefix_is_an_unknown_address(
    nginx: Nginx, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """Any client can request it: the alert on such requests is for a wrong configuration."""
    paths = ("", "x", "part/x?y=z", "0" * 40, "../x", "%2e%2e/x")
    for path in (*(f"/_cos/{path}" for path in paths), "//_cos/x"):
        for method in ("GET", "HEAD", "POST"):
            sent = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            received = await exchange(nginx.url, sent.encode())
            assert statuses(received) == [404], path
            assert method == "HEAD" or b'"code": "not_found"' in received
    assert gateway.sample("accel_not_configured_total") == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_accel_conf_with_another_prefix_is_reported(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "accel", "accel_prefix": "/_other/"})
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port))
    await images.add("a", SMALL)
    images.cos.store.put(BUCKET, "large.png", LARGE)
    await images.add_row(ImageRow("large", None, "large.png", public=True))
    for answer in (await nginx.get("/i/a"), await nginx.get("/i/large", Range="bytes=5-9")):
        assert (answer.status, answer.json()["code"]) == (500, "accel_not_configured")
    assert gateway.sample("accel_not_configured_total") == 2


async def test_without_accel_the_prefix_is_an_unknown_address(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "stream"})
    answer = await gateway.get("/_cos/x")
    assert (answer.status, answer.json()["code"]) == (404, "not_found")
    assert gateway.sample("accel_not_configured_total") == 0
