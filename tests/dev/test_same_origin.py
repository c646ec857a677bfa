"""Only the playground's page on this machine gets through the guard."""

from collections.abc import Mapping
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.errors import RouteNotFound
from gateway_dev.playground import this_machine_only

HERE = "127.0.0.1:8080"


@this_machine_only
async def handler(request: web.Request) -> web.Response:
    return web.Response(text=request.path)


async def is_answered(method: str, headers: Mapping[str, str], peer: str = "127.0.0.1") -> bool:
    """Return whether the guard lets a request with these fields through."""
    transport = Mock()
    transport.get_extra_info.side_effect = lambda name, *_: (peer, 1234) if name == "peername" else None
    request = make_mocked_request(method, "/dev/images", headers=headers, transport=transport)
    try:
        return (await handler(request)).status == 200
    except RouteNotFound:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "127.0.0.1"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
async def test_this_machine_is_let_through_under_each_of_its_names(host: str, peer: str) -> None:
    assert await is_answered("GET", {"Host": host}, peer)
    assert await is_answered("POST", {"Host": host, "Origin": f"http://{host}"}, peer)


@pytest.mark.parametrize(
    "host",
    [
        "playground.example:8080",
        "127.0.0.1.example:8080",
        "localhost.example",
        "192.0.2.7:8080",
        "[2001:db8::1]:8080",
        "[",
    ],
)
async def test_a_rebound_name_is_refused(host: str) -> None:
    assert not await is_answered("GET", {"Host": host})
    assert not await is_answered("POST", {"Host": host, "Origin": f"http://{host}"})


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", ""])
async def test_another_machine_is_refused_whatever_host_it_names(peer: str) -> None:
    assert not await is_answered("GET", {"Host": HERE}, peer)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://shop.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": f"http://{HERE}"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_of_another_site_is_refused(method: str, headers: dict[str, str]) -> None:
    assert not await is_answered(method, {"Host": HERE, **headers})


async def test_a_change_needs_an_origin_and_reading_does_not() -> None:
    assert not await is_answered("POST", {"Host": HERE})
    assert not await is_answered("POST", {"Host": HERE, "Sec-Fetch-Site": "none"})
    assert await is_answered("GET", {"Host": HERE})
    assert await is_answered("HEAD", {"Host": HERE, "Sec-Fetch-Site": "none"})
    assert await is_answered("POST", {"Host": HERE, "Origin": f"http://{HERE}", "Sec-Fetch-Site": "same-origin"})
