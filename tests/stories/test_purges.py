"""A change reaches the caches in front: of a row, by a purge, on two replicas."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from tests.answering import Service, answering
from tests.conftest import ADMIN_TOKEN, Images, StartGateway
from tests.waiting import until, until_listening_to_changes

pytestmark = pytest.mark.usefixtures("forked_commands")

BASE = "https://img.example.com"


@pytest.fixture
async def edge() -> AsyncIterator[Service]:
    """A webhook on a free port."""
    async with answering() as service:
        yield service


def purge(edge: Service) -> dict[str, Any]:
    """Return the section that sends purges there."""
    return {"target": "webhook", "url": edge.url, "base_urls": [BASE], "per_second": 100}


def sent(edge: Service) -> list[str]:
    """Return the ids that were sent, in order."""
    return [image_id for _, body in edge.seen for image_id in json.loads(body)["image_ids"]]


async def test_a_changed_row_and_a_purge_are_sent_once_by_two_replicas(
    start_gateway: StartGateway, images: Images, edge: Service, redis_client: "redis.Redis"
) -> None:
    replicas = [await start_gateway(purge=purge(edge)) for _ in range(2)]
    for replica in replicas:
        await until_listening_to_changes(replica.ports.admin)
    for image_id in ("a", "b"):
        await images.add(image_id)
    for replica in replicas:
        assert (await replica.get("/i/a")).status == 200
    await images.execute("UPDATE images SET mime_type = 'image/webp' WHERE id = 'a'")
    await until(lambda: sent(edge) == ["a"], what="the purge of the row")
    answer = await replicas[0].request(
        "POST",
        "/api/v1/cache/purge",
        admin=True,
        json={"image_ids": ["b"]},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    assert answer.status == 200
    await until(lambda: not redis_client.exists("image:purge:queue") and len(sent(edge)) > 1, what="an empty queue")
    assert sent(edge) == ["a", "b"]

    def counted() -> float:
        return sum(replica.sample("purges_total", result="sent") for replica in replicas)

    await until(lambda: counted() == 2, what="the counts")
    urls = json.loads(edge.seen[0][1])["urls"]
    assert urls == [f"{BASE}/i/a", f"{BASE}/api/v1/images/a/proxy"]


async def test_nothing_is_queued_without_a_target(
    start_gateway: StartGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    gateway = await start_gateway()
    await images.add("a")
    await gateway.request(
        "POST",
        "/api/v1/cache/purge",
        admin=True,
        json={"image_ids": ["a"]},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    assert not redis_client.keys("image:purge:*")
