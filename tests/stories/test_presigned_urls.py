"""Presigned URLs for clients that fetch from COS themselves."""

import asyncio
from urllib.parse import parse_qsl, urlsplit

import redis
import yarl

from gateway.dev.database import ImageRow
from tests.conftest import Images, RunningGateway, StartGateway, token_for


async def test_a_url_returns_the_image_and_says_whether_it_was_cached(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", b"body")
    first = (await gateway.get("/api/v1/images/a/url")).json()
    second = (await gateway.get("/api/v1/images/a/url")).json()
    assert first["status"] == "success"
    assert first["data"].keys() == {"image_id", "url", "expires_at", "from_cache", "version", "access_count"}
    assert (first["data"]["from_cache"], second["data"]["from_cache"]) == (False, True)
    assert second["data"]["access_count"] == 2
    assert second["data"]["url"] == first["data"]["url"]
    async with gateway.session.get(yarl.URL(first["data"]["url"], encoded=True)) as answer:
        assert await answer.read() == b"body"
    signed = dict(parse_qsl(urlsplit(first["data"]["url"]).query))
    assert int(signed["q-sign-time"].partition(";")[2]) == first["data"]["expires_at"]


async def test_the_owner_can_have_a_url_signed_anew(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", owner="alice")
    old = (await gateway.get("/api/v1/images/a/url")).json()["data"]
    path = "/api/v1/images/a/url/refresh"
    assert (await gateway.request("POST", path)).status == 401
    stranger = await gateway.request("POST", path, headers={"Authorization": f"Bearer {token_for('bob')}"})
    assert stranger.status == 404
    answer = await gateway.request("POST", path, headers={"Authorization": f"Bearer {token_for('alice')}"})
    data = answer.json()["data"]
    assert (answer.status, data.keys()) == (200, {"image_id", "url", "expires_at"})
    assert data["expires_at"] >= old["expires_at"]
    assert (await gateway.get("/api/v1/images/a/url")).json()["data"]["expires_at"] == data["expires_at"]
    refused = await gateway.get(path)
    assert (refused.status, refused.headers["Allow"]) == (405, "OPTIONS,POST")
    assert refused.json()["code"] == "method_not_allowed"


async def test_the_status_of_an_image_counts_the_use_of_its_url(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", owner="alice", public=False)
    path = "/api/v1/images/a/status"
    before = (await gateway.get(path, user="alice")).json()["data"]
    assert before == {
        "image_id": "a",
        "cached": False,
        "expires_at": None,
        "refresh_due_at": None,
        "created_at": None,
        "last_access": None,
        "access_count": 0,
        "refresh_count": 0,
    }
    await gateway.get("/i/a", user="alice")
    await gateway.request(
        "POST", "/api/v1/images/a/url/refresh", headers={"Authorization": f"Bearer {token_for('alice')}"}
    )
    after = (await gateway.get(path, user="alice")).json()["data"]
    assert (after["cached"], after["access_count"], after["refresh_count"]) == (True, 1, 1)
    assert after["created_at"] <= after["last_access"] + 1 < after["expires_at"]
    assert (await gateway.get(path, user="bob")).status == 404


async def test_a_batch_omits_images_that_the_caller_may_not_see(gateway: RunningGateway, images: Images) -> None:
    await images.add("open")
    await images.add("mine", owner="alice", public=False)
    await images.add("bobs", owner="bob", public=False)
    asked = ["open", "mine", "bobs", "never-there", "..", "open"]
    answer = await gateway.request(
        "POST",
        "/api/v1/images/urls",
        json={"image_ids": asked},
        headers={"Authorization": f"Bearer {token_for('alice')}"},
    )
    data = answer.json()["data"]
    assert data["urls"].keys() == {"open", "mine"}
    assert data["errors"] == {
        "bobs": "image_not_found",
        "never-there": "image_not_found",
        "..": "invalid_image_id",
    }
    assert data["urls"]["open"].keys() == {"url", "expires_at", "from_cache", "version"}


async def test_a_batch_of_two_hundred_costs_one_query(gateway: RunningGateway, images: Images) -> None:
    rows = [ImageRow(f"id-{number}", None, f"key-{number}", public=True) for number in range(200)]
    await asyncio.to_thread(images.table.put, rows)
    body = {"image_ids": [row.image_id for row in rows]}
    answer = await gateway.request("POST", "/api/v1/images/urls", json=body)
    assert len(answer.json()["data"]["urls"]) == 200
    assert gateway.sample("catalog_queries_total", result="found") == 1
    again = await gateway.request("POST", "/api/v1/images/urls", json=body)
    assert {entry["from_cache"] for entry in again.json()["data"]["urls"].values()} == {True}
    body["image_ids"].append("one-more")
    assert (await gateway.request("POST", "/api/v1/images/urls", json=body)).status == 400


async def test_a_gateway_without_url_cache_signs_every_time(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(url_cache={"enabled": False})
    await images.add("a")
    for _ in range(2):
        assert (await gateway.get("/api/v1/images/a/url")).json()["data"]["from_cache"] is False
    assert (await gateway.get("/readyz")).json()["checks"] == {"postgres": "ok", "cos": "ok"}


async def test_a_hundred_cold_images_at_once_are_one_query_and_one_read_of_redis(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    ids = [f"id-{number}" for number in range(100)]
    await asyncio.to_thread(images.table.put, [ImageRow(one, None, f"{one}.png", public=True) for one in ids])
    resolver = gateway.service.urls.resolver
    await resolver.resolve_many(["unknown"])  # the catalog has its connection, and knows the type of the ids
    before = gateway.sample("catalog_queries_total", result="found")
    redis_client.config_resetstat()
    resolved = await asyncio.gather(*(resolver.look_up(one) for one in ids))
    assert [one.image.record.image_id for one in resolved] == ids
    assert gateway.sample("catalog_queries_total", result="found") - before == 1
    assert redis_client.info("commandstats")["cmdstat_mget"]["calls"] == 1
    assert len(redis_client.keys("image:url:*")) == 100
