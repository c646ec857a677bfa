"""The addresses of the playground: answers, faults, and the guard that lets only its own page in."""

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from gateway.errors import RouteNotFound
from gateway_dev.cos_emulator.faults import Fault, Faults, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from gateway_dev.playground import MAX_PAUSE, NamedFaults, Playground, this_machine_only
from tests.conftest import Answer, Images, RunningGateway, StartGateway

ROWS = [
    ImageRow("cat", "alice", "objects/cat.png", content_type="image/png", public=True),
    ImageRow("dog", "bob", "objects/dog.png", content_type="image/png", public=False),
]
READS = [
    "/",
    "/dev/images",
    "/dev/files/playground.js",
    "/dev/files/playground.css",
    "/dev/files/tokens.css",
    "/dev/files/logo.svg",
]
CHANGES = ["/dev/faults", "/dev/expire", "/dev/restart"]
PACKAGE = Path(__file__).parents[2] / "gateway_dev"


@pytest.fixture
def playground(cos: CosEmulator) -> Playground:
    return Playground(ROWS, cos)


@pytest.fixture
async def gateway(start_gateway: StartGateway, playground: Playground) -> RunningGateway:
    """A gateway with the playground."""
    return await start_gateway(
        extend=lambda service, app: playground.add_routes(app, service.urls.invalidation.drop_here)
    )


async def post(gateway: RunningGateway, path: str, body: object) -> Answer:
    """Send a change as the page does."""
    return await gateway.request("POST", path, json=body, headers={"Origin": gateway.ports.public})


async def test_the_page_comes_under_a_strict_policy(gateway: RunningGateway, cos: CosEmulator) -> None:
    for path, file in (
        ("/", "web/index.html"),
        ("/dev/files/playground.css", "web/playground.css"),
        ("/dev/files/playground.js", "static/playground.js"),
    ):
        answer = await gateway.get(path)
        assert (answer.status, answer.body) == (200, (PACKAGE / file).read_bytes())
        assert answer.headers["Content-Security-Policy"] == (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {cos.url}; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", ["playground.ts", "..%2findex.html", "%2e%2e/smart-image.js", "x"])
async def test_no_other_file_is_served(gateway: RunningGateway, name: str) -> None:
    assert (await gateway.get(f"/dev/files/{name}")).status == 404


async def test_the_page_learns_the_images_and_a_token_for_each_owner(gateway: RunningGateway, images: Images) -> None:
    for row in ROWS:
        await images.add(row.image_id, owner=row.owner, public=row.public)
    data = (await gateway.get("/dev/images")).json()["data"]
    assert data["images"] == [
        {"image_id": "cat", "file": "objects/cat.png", "owner": "alice", "public": True},
        {"image_id": "dog", "file": "objects/dog.png", "owner": "bob", "public": False},
    ]
    assert data["tokens"].keys() == {"alice", "bob"}
    assert data["faults"] == []
    assert data["console"] == ""


async def test_production_has_none_of_it(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    for path in [
        *READS,
        "/static/playground/playground.js",
        "/static/playground.js",
        "/static/playground%2fplayground.js",
    ]:
        assert (await gateway.get(path)).status == 404
    for path in CHANGES:
        assert (await post(gateway, path, {})).status == 404


OTHER_HOSTS = (
    "playground.example",
    "127.0.0.1.example:8080",
    "localhost.example",
    "192.0.2.7",
    "[2001:db8::1]:80",
    "[",
)
OTHER_ORIGINS = ("https://shop.example", "http://127.0.0.1:3000", "http://localhost:8080", "null")
OTHERS = (
    *({"Host": host} for host in OTHER_HOSTS),
    *({"Host": host, "Origin": f"http://{host}"} for host in OTHER_HOSTS),
    *({"Origin": origin} for origin in OTHER_ORIGINS),
)


async def test_pages_of_other_sites_and_under_a_rebound_name_get_nothing(gateway: RunningGateway) -> None:
    sites = ({"Sec-Fetch-Site": site, "Origin": gateway.ports.public} for site in ("cross-site", "same-site"))
    for headers in (*OTHERS, *sites):
        for path in READS:
            assert (await gateway.get(path, headers=headers)).status == 404, headers
        for path in CHANGES:
            assert (await gateway.request("POST", path, json={}, headers=headers)).status == 404, headers


async def test_a_fault_reaches_images_that_were_in_memory(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    assert (await gateway.get("/i/cat")).status == 200
    answer = await post(gateway, "/dev/faults", {"fault": "throttle", "on": True})
    assert answer.json()["data"] == {"faults": ["throttle"]}
    refused = await gateway.get("/i/cat")
    assert (refused.status, refused.json()["code"]) == (503, "origin_throttled")
    answer = await post(gateway, "/dev/faults", {"fault": "throttle", "on": False})
    assert answer.json()["data"] == {"faults": []}
    assert (await gateway.get("/i/cat")).status == 200


async def test_an_expired_url_is_replaced_without_the_client_noticing(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    assert (await gateway.get("/i/cat")).status == 200
    assert (await post(gateway, "/dev/expire", {"image_ids": ["cat", "unknown"]})).json()["data"] == {"expired": 1}
    assert (await gateway.get("/i/cat")).status == 200
    assert [seen.status for seen in images.cos.request_log.of("objects/cat.png", "GET")] == [200, 403, 200]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/dev/faults", {"fault": "earthquake", "on": True}),
        ("/dev/faults", {"fault": "hang"}),
        ("/dev/faults", {"fault": "hang", "on": 1}),
        ("/dev/faults", []),
        ("/dev/expire", {}),
        ("/dev/expire", {"image_ids": ["a"] * 201}),
        ("/dev/restart", {}),
        ("/dev/restart", []),
        ("/dev/restart", {"pause": -1}),
        ("/dev/restart", {"pause": MAX_PAUSE + 1}),
        ("/dev/restart", {"pause": float("nan")}),
        ("/dev/restart", {"pause": "1"}),
    ],
)
async def test_a_malformed_change_is_refused(
    gateway: RunningGateway, playground: Playground, cos: CosEmulator, path: str, body: object
) -> None:
    assert (await post(gateway, path, body)).status == 400
    assert not playground.restart.is_set()
    assert cos.faults.armed == []


@pytest.fixture
def faults() -> Faults:
    return Faults()


def test_faults_of_others_stay(faults: Faults) -> None:
    other = Fault(action=Hang(), times=None)
    faults.add(other)
    named = NamedFaults(faults)
    assert named.active() == []
    named.turn_on("hang")
    named.turn_off("hang")
    assert [armed.fault for armed in faults.armed] == [other]


def test_an_expired_url_is_refused_once_for_each_object(faults: Faults) -> None:
    named = NamedFaults(faults)
    named.expire(["a [1].png", "b.png"])
    (expired,) = faults.fire("GET", "a [1].png").alterations
    assert isinstance(expired, Refuse)
    assert (expired.status, expired.message) == (403, "Request has expired")
    assert faults.fire("GET", "a [1].png").alterations == [], "the new URL works"
    assert faults.fire("GET", "a 1.png").alterations == []
    assert faults.fire("GET", "b.png").alterations == [expired]


def test_what_has_expired_does_not_pile_up(faults: Faults) -> None:
    named = NamedFaults(faults)
    for _ in range(10):
        named.expire(["a.png"])
        faults.fire("GET", "a.png")
    assert len(faults.armed) == 1


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


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", ""])
async def test_another_machine_is_refused_whatever_host_it_names(peer: str) -> None:
    assert not await is_answered("GET", {"Host": HERE}, peer)


async def test_a_change_needs_an_origin_and_reading_does_not() -> None:
    assert not await is_answered("POST", {"Host": HERE})
    assert not await is_answered("POST", {"Host": HERE, "Sec-Fetch-Site": "none"})
    assert await is_answered("GET", {"Host": HERE})
    assert await is_answered("HEAD", {"Host": HERE, "Sec-Fetch-Site": "none"})
    assert await is_answered("POST", {"Host": HERE, "Origin": f"http://{HERE}", "Sec-Fetch-Site": "same-origin"})
