"""The addresses of the playground: answers, callers, and faults."""

import asyncio
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from gateway_dev.playground import MAX_PAUSE, Playground
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.limits import LIMIT

ROWS = [
    ImageRow("cat", "alice", "objects/cat.png", content_type="image/png", public=True),
    ImageRow("dog", "bob", "objects/dog.png", content_type="image/png", public=False),
]
READS = ["/", "/dev/images", "/dev/files/playground.js", "/dev/files/playground.css"]
CHANGES = ["/dev/faults", "/dev/expire", "/dev/restart"]
FILES = Path(__file__).parents[2] / "gateway_dev" / "static"


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
    for path, file in (("/", "index.html"), *((f"/dev/files/{name.name}", name.name) for name in FILES.iterdir())):
        answer = await gateway.get(path)
        assert (answer.status, answer.body) == (200, (FILES / file).read_bytes())
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


@pytest.mark.parametrize("headers", [{"Host": "playground.example"}, {"Origin": "https://shop.example"}])
async def test_pages_of_other_sites_get_nothing(gateway: RunningGateway, headers: dict[str, str]) -> None:
    for path in READS:
        assert (await gateway.get(path, headers=headers)).status == 404
    for path in CHANGES:
        assert (await gateway.request("POST", path, json={}, headers=headers)).status == 404


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


async def test_an_expired_url_is_replaced_without_the_client_noticing(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("cat")
    assert (await gateway.get("/i/cat")).status == 200
    assert (await post(gateway, "/dev/expire", {"image_ids": ["cat", "unknown"]})).json()["data"] == {"expired": 1}
    assert (await gateway.get("/i/cat")).status == 200
    assert [seen.status for seen in cos.request_log.of("objects/cat.png", "GET")] == [200, 403, 200]


async def test_a_restart_is_asked_for(gateway: RunningGateway, playground: Playground) -> None:
    assert (await post(gateway, "/dev/restart", {"pause": 1.5})).json()["data"] == {"pause": 1.5}
    async with asyncio.timeout(LIMIT):
        await playground.restart.wait()
    assert playground.pause == 1.5


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
