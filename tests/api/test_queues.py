"""The queues of renewals and purges for operators: listed, and requeued."""

import asyncio
import json
import time
from typing import Any

import redis

from gateway.presign.style_variants import ImageVariant
from tests.answering import answering
from tests.api.test_url_cache import ADMIN, data
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT


async def test_the_queue_is_listed_and_failed_renewals_are_requeued(gateway: RunningGateway, images: Images) -> None:
    await images.add("a")
    await gateway.get("/i/a")
    queue = gateway.redis.queue
    await queue.schedule({ImageVariant("broken"): time.time() + 100})
    for _ in range(5):
        given_up = await queue.fail(ImageVariant("broken"), "no such key sign=abc", time.time())
    assert given_up
    shown = await data(gateway, "queue")
    assert (shown["length"], shown["dead"]) == (1, 1)
    assert shown["next"][0]["image_id"] == "a"
    assert shown["dead_entries"][0] | {"at": 0} == {
        "image_id": "broken",
        "style": None,
        "reason": "no such key sign=***",
        "at": 0,
        "attempts": 5,
    }
    path = "/api/v1/monitoring/queue/requeue"
    assert (await gateway.request("POST", path, admin=True)).status == 401
    answer = await gateway.request("POST", path, admin=True, headers=ADMIN)
    assert answer.json()["data"] == {"requeued": 1}
    async with asyncio.timeout(LIMIT):  # the refresh task processes it: there is no such image
        while (await data(gateway, "queue"))["length"] != 1:
            await asyncio.sleep(0.05)


async def test_purges_are_listed_beside_renewals_and_requeued(
    start_gateway: StartGateway, redis_client: "redis.Redis"
) -> None:
    async with answering() as edge:
        edge.hangs = True
        purge = {"target": "webhook", "url": edge.url}
        gateway = await start_gateway(purge=purge)
        queue = gateway.purge_queue
        await queue.enqueue(["later"], time.time() + 500)
        for _ in range(5):
            given_up = await queue.fail(ImageVariant("broken"), "status 400", time.time())
        assert given_up
        shown = (await data(gateway, "queue"))["purges"]
        assert (shown["length"], shown["due"], shown["lag"], shown["dead"]) == (1, 0, 0, 1)
        assert shown["next"][0]["image_id"] == "later"
        assert shown["dead_entries"][0] | {"at": 0} == {
            "image_id": "broken",
            "reason": "status 400",
            "at": 0,
            "attempts": 5,
        }
        path = "/api/v1/monitoring/queue/requeue?queue="
        assert (await gateway.request("POST", path + "purges", admin=True)).status == 401
        assert (await gateway.request("POST", path + "all", admin=True, headers=ADMIN)).status == 400
        answer = await gateway.request("POST", path + "renewals", admin=True, headers=ADMIN)
        assert answer.json()["data"] == {"requeued": 0}
        answer = await gateway.request("POST", path + "purges", admin=True, headers=ADMIN)
        assert answer.json()["data"] == {"requeued": 1}
        assert not redis_client.exists("image:purge:dead")


async def test_chosen_dead_renewals_are_requeued(gateway: RunningGateway, redis_client: "redis.Redis") -> None:
    entry = json.dumps({"reason": "no row", "at": time.time(), "attempts": 5})
    redis_client.hset("image:refresh:dead", mapping=dict.fromkeys(("a", "a|card@64.webp", "b"), entry))
    path = "/api/v1/monitoring/queue/requeue"
    chosen = [
        {"image_id": "a", "style": "card@64.webp"},
        {"image_id": "b", "style": None},
        {"image_id": "never-there", "style": None},
    ]
    assert (await gateway.request("POST", path, admin=True, json={"entries": chosen})).status == 401
    answer = await gateway.request("POST", path, admin=True, json={"entries": chosen}, headers=ADMIN)
    assert answer.json()["data"] == {"requeued": 2}
    assert redis_client.hkeys("image:refresh:dead") == [b"a"]
    assert await gateway.redis.queue.due_at(ImageVariant("never-there")) is None
    again = await gateway.request("POST", path, admin=True, json={"entries": chosen}, headers=ADMIN)
    assert again.json()["data"] == {"requeued": 0}
    rest = await gateway.request("POST", path, admin=True, json={}, headers=ADMIN)
    assert rest.json()["data"] == {"requeued": 1}


INVALID: tuple[Any, ...] = (
    "",
    [],
    {"entries": []},
    {"entries": "a"},
    {"entries": ["a"]},
    {"entries": [{"image_id": "a"}]},
    {"entries": [{"image_id": "a\0b", "style": None}]},
    {"entries": [{"image_id": "a", "style": "card|b"}]},
    {"entries": [{"image_id": "a", "style": 1}]},
    {"entries": [{"image_id": "a", "style": None}] * 101},
    {"image_ids": ["a"]},
)


async def test_an_invalid_choice_requeues_nothing(gateway: RunningGateway, redis_client: "redis.Redis") -> None:
    redis_client.hset("image:refresh:dead", "a", json.dumps({"reason": "x", "at": 1, "attempts": 5}))
    path = "/api/v1/monitoring/queue/requeue"
    for body in INVALID:
        assert (await gateway.request("POST", path, admin=True, json=body, headers=ADMIN)).status == 400, body
    of_purges, entries = f"{path}?queue=purges", {"entries": [{"image_id": "a", "style": None}]}
    answer = await gateway.request("POST", of_purges, admin=True, json=entries, headers=ADMIN)
    assert (answer.status, answer.json()["message"]) == (400, "entries choose renewals, not purges")
    assert redis_client.hlen("image:refresh:dead") == 1
    assert (await data(gateway, "queue"))["purges"] is None
    assert (await gateway.request("POST", of_purges, admin=True, headers=ADMIN)).status == 404, "without `purge`"
