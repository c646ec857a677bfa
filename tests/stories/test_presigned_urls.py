"""Presigned URLs for clients that fetch from COS themselves."""

import asyncio

from gateway_dev.database import ImageRow
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until_ready


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
    await until_ready(gateway.ports.public)
    assert (await gateway.get("/readyz")).json()["checks"] == {"postgres": "ok", "cos": "ok", "changes": "ok"}
