"""Presigned URLs, one and many in a request: no round trip for a cached one, and the same answer either way."""

import json
from typing import Any

import aiohttp
import pytest
import redis
import yarl

from gateway.api.json_bodies import MAX_IMAGES
from tests.conftest import Answer, Images, RunningGateway, token_for

# Fields that differ between any two requests.
OWN = {"x-request-id", "server-timing", "date", "content-length"}


@pytest.mark.parametrize("user", [None, "alice"])
async def test_an_address_that_the_router_decodes_gets_the_same_answer(
    gateway: RunningGateway, images: Images, user: str | None
) -> None:
    await images.add("cat", owner="alice", public=user is None)
    direct = await gateway.get("/api/v1/images/cat/url", user=user)
    routed = await gateway.get("/api/v1/images/%63at/url", user=user)
    assert (direct.status, routed.status) == (200, 200)
    assert {**direct.json()["data"], "from_cache": True, "access_count": 2} == routed.json()["data"]
    assert {name: value for name, value in direct.headers.items() if name.lower() not in OWN} == {
        name: value for name, value in routed.headers.items() if name.lower() not in OWN
    }
    assert direct.headers["Content-Type"] == "application/json"
    assert direct.headers["Cache-Control"] == "no-store"
    assert direct.headers["Access-Control-Allow-Origin"] == "*"
    assert gateway.sample("requests_total", route="url", delivery="none", status="200") == 2


@pytest.mark.parametrize("path", ["/api/v1/images/cat/url", "/api/v1/images/%63at/url"])
async def test_errors_are_the_same_either_way(gateway: RunningGateway, images: Images, path: str) -> None:
    await images.add("cat", owner="alice", public=False)
    assert (await gateway.request("HEAD", path)).status == 405
    assert (await gateway.request("POST", path)).status == 405
    hidden = await gateway.get(path, user="bob")
    assert (hidden.status, hidden.json()["code"]) == (404, "image_not_found")
    bad = await gateway.get(path, headers={"Authorization": "Bearer forged"})
    assert (bad.status, bad.json()["code"]) == (401, "unauthorized")
    assert (await gateway.get(path, user="alice")).json()["data"]["image_id"] == "cat"


async def test_a_cached_url_needs_no_round_trip(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("cat")
    await gateway.get("/api/v1/images/cat/url")
    redis_client.config_resetstat()
    counts = [(await gateway.get("/api/v1/images/cat/url")).json()["data"]["access_count"] for _ in range(50)]
    assert counts == list(range(2, 52))
    stats = redis_client.info("commandstats")
    reads = {name: stats[name]["calls"] for name in ("cmdstat_mget", "cmdstat_zmscore", "cmdstat_get") if name in stats}
    # A notification may arrive late, and flushes run in the background; none of these is for each request.
    assert sum(reads.values()) < 10, reads
    assert "cmdstat_zscore" not in stats
    assert gateway.sample("catalog_queries_total", result="found") < 10


PATH = "/api/v1/images/urls"


async def ask(gateway: RunningGateway, image_ids: list[str], *, user: str | None = None, bearer: str = "") -> Any:
    """Return the data of a response that must be a success."""
    bearer = token_for(user) if user is not None else bearer
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    answer = await gateway.request("POST", PATH, json={"image_ids": image_ids}, headers=headers)
    assert answer.status == 200
    return answer.json()["data"]


async def send(gateway: RunningGateway, body: bytes) -> Answer:
    """Send any body and return the response."""
    return await gateway.request("POST", PATH, data=body, headers={"Content-Type": "application/json"})


async def test_each_url_of_a_batch_fetches_its_image(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", b"a cat")
    await images.add("dog", b"a dog")
    data = await ask(gateway, ["cat", "dog"])
    assert data["errors"] == {}
    assert data["urls"].keys() == {"cat", "dog"}
    assert data["urls"]["cat"]["from_cache"] is False
    async with aiohttp.ClientSession() as session:
        async with session.get(yarl.URL(data["urls"]["dog"]["url"], encoded=True)) as response:
            assert await response.read() == b"a dog"
    again = await ask(gateway, ["cat", "cat"])
    assert again["urls"].keys() == {"cat"}
    assert again["urls"]["cat"] == {**data["urls"]["cat"], "from_cache": True}


@pytest.mark.parametrize("warm", [False, True])
async def test_each_result_of_a_batch_equals_a_request_for_that_image(
    gateway: RunningGateway, images: Images, warm: bool
) -> None:
    await images.add("public")
    await images.add("mine", owner="alice", public=False)
    await images.add("deleted", status="deleted")
    image_ids = ["public", "mine", "deleted", "nothing", "-bad", "a/b", "\x00", "\ud800", "图"]
    if warm:
        await ask(gateway, image_ids, user="alice")
    bad = dict.fromkeys(["-bad", "a/b", "\x00", "\ud800", "图"], "invalid_image_id")
    missing = dict.fromkeys(["deleted", "nothing"], "image_not_found")

    data = await ask(gateway, image_ids, user="alice")
    assert (data["urls"].keys(), data["errors"]) == ({"public", "mine"}, bad | missing)
    for stranger in (await ask(gateway, image_ids), await ask(gateway, image_ids, user="bob")):
        assert (stranger["urls"].keys(), stranger["errors"]) == (
            {"public"},
            bad | missing | {"mine": "image_not_found"},
        )
    forged = await ask(gateway, image_ids, bearer="for.ged.token")
    assert forged["urls"].keys() == {"public"}
    assert {forged["errors"][image_id] for image_id in ("mine", "deleted", "nothing")} == {"unauthorized"}


INVALID = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b'"cat"',
    b"{}",
    b'{"image_ids": "cat"}',
    b'{"image_ids": [1]}',
    b"\xff\xfe",
    b'{"image_ids": []}',
    b'{"image_ids": {"cat": 1}}',
    b'{"image_ids": [1, null, []]}',
    b'{"image_ids": ["a"], "image_ids": 1}',
    b"NaN",
    b"[" * 60_000,
    b'{"image_ids": [' + b"[" * 60_000,
    b'{"image_ids": ' + b"1" * 60_000 + b"}",
    b"-" * 60_000,
    json.dumps({"image_ids": ["cat"] * (MAX_IMAGES + 1)}).encode(),
)


async def test_an_invalid_body_is_a_400_and_one_larger_than_any_valid_one_a_413(gateway: RunningGateway) -> None:
    for body in INVALID:
        answer = await send(gateway, body)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), body[:20]
    answer = await send(gateway, b'{"image_ids": ["' + b"x" * 100_000 + b'"]}')
    assert (answer.status, answer.json()["code"]) == (413, "payload_too_large")
