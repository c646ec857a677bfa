"""Presigned URLs for clients that fetch from COS themselves."""

import asyncio

import redis

from gateway_dev.database import ImageRow
from tests.conftest import Images, RunningGateway, StartGateway


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
    assert (await gateway.get("/readyz")).json()["checks"] == {"postgres": "ok", "cos": "ok", "changes": "ok"}


async def test_a_hundred_cold_images_at_once_are_one_query_and_one_read_of_redis(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    ids = [f"id-{number}" for number in range(100)]
    await asyncio.to_thread(
        images.table.put, [ImageRow(image_id, None, f"{image_id}.png", public=True) for image_id in ids]
    )
    resolver = gateway.resolver
    await resolver.resolve_many(["unknown"])  # the catalog has its connection, and knows the type of the ids
    before = gateway.sample("catalog_queries_total", result="found")
    redis_client.config_resetstat()
    resolved = await asyncio.gather(*(resolver.look_up(image_id) for image_id in ids))
    assert [found.image.record.image_id for found in resolved] == ids
    assert gateway.sample("catalog_queries_total", result="found") - before == 1
    assert redis_client.info("commandstats")["cmdstat_mget"]["calls"] == 1
    assert len(redis_client.keys("image:url:*")) == 100
