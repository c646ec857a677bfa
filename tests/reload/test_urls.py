"""A reload changes the life of URLs, both tiers of their cache, their renewal, and the keys of entries in Redis."""

import time

import pytest
import redis

from gateway.presign.style_variants import ImageVariant
from tests.conftest import Images, RunningGateway, StartGateway
from tests.reload.proofs import proves
from tests.waiting import until, until_listening

OLD_KEY, NEW_KEY = "the-old-entry-key-of-thirty-two-bytes", "the-new-entry-key-of-thirty-two-bytes"


async def life(gateway: RunningGateway, image_id: str) -> float:
    """The seconds for which the image's URL is valid."""
    return float((await gateway.get(f"/api/v1/images/{image_id}/url")).json()["data"]["expires_at"]) - time.time()


@proves("url_cache.default_ttl", "url_cache.sign_window")
async def test_new_urls_live_as_long_as_it_says_now(
    start_gateway: StartGateway, images: Images, redis_client: redis.Redis
) -> None:
    gateway = await start_gateway(url_cache={"default_ttl": 36_000, "sign_window": 3600})
    await until_listening(gateway, redis_client)
    await images.add("a")
    await images.add("b")
    assert await life(gateway, "a") > 32_000
    await gateway.reload(url_cache={"default_ttl": 1000, "sign_window": 0})
    assert 995 < await life(gateway, "b") < 1001
    assert await life(gateway, "a") > 1001, "the local tier keeps a good URL for local_ttl"
    gateway.local.drop_all()
    assert await life(gateway, "a") < 1001


@proves("url_cache.min_remaining")
async def test_urls_are_handed_out_with_the_new_margin(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect"}, url_cache={"sign_window": 0})
    await images.add("a")

    async def max_age() -> int:
        return int((await gateway.get("/i/a")).headers["Cache-Control"].rpartition("=")[2])

    assert await max_age() > 3500
    await gateway.reload(url_cache={"min_remaining": 3000})
    assert await max_age() <= 600


@proves("url_cache.local_ttl")
async def test_copies_in_the_process_are_used_as_long_as_it_says_now(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(url_cache={"local_ttl": 3600}, postgres={"listen": False})
    await images.add("a")

    async def hits_of_redis() -> float:
        before = gateway.sample("url_cache_lookups_total", tier="redis", result="hit")
        await gateway.get("/i/a")
        await gateway.get("/i/a")
        return gateway.sample("url_cache_lookups_total", tier="redis", result="hit") - before

    async def is_used() -> bool:
        return await hits_of_redis() == 0

    await until(is_used)  # as soon as it listens to Redis: what it has from before is read again
    await gateway.reload(url_cache={"local_ttl": 0})
    assert await hits_of_redis() == 2


@proves("url_cache.max_size")
async def test_both_tiers_shrink_to_the_new_size(
    gateway: RunningGateway, images: Images, redis_client: redis.Redis
) -> None:
    for image_id in ("a", "b", "c"):
        await images.add(image_id)
        await gateway.get(f"/i/{image_id}")
    assert len(gateway.local) == 3
    await gateway.reload(url_cache={"max_size": 1})
    assert len(gateway.local) == 1
    await until(lambda: len(list(redis_client.scan_iter("image:url:*"))) == 1)


@proves("redis.entry_key", "redis.entry_key_previous")
async def test_entries_of_the_old_key_are_used_while_it_is_the_previous_one(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(redis={"entry_key": OLD_KEY}, url_cache={"local_ttl": 0}, postgres={"listen": False})
    await images.add("a")
    await gateway.get("/i/a")

    async def is_hit() -> bool:
        before = gateway.sample("url_cache_lookups_total", tier="redis", result="hit")
        assert (await gateway.get("/i/a")).status == 200
        return gateway.sample("url_cache_lookups_total", tier="redis", result="hit") > before

    await gateway.reload(redis={"entry_key": NEW_KEY, "entry_key_previous": OLD_KEY})
    assert await is_hit()
    await gateway.reload(redis={"entry_key_previous": None})
    assert not await is_hit()
    assert await is_hit(), "written anew, with the new key"


@proves("url_prerefresh.threshold")
async def test_urls_fall_due_by_the_new_threshold(gateway: RunningGateway, images: Images) -> None:
    await gateway.reload(url_prerefresh={"threshold": 3000, "lease": 10})
    await images.add("a", owner="alice")

    async def is_due_in_time() -> bool:
        await gateway.get("/i/a")  # again: the notification of the new row may drop the entry
        status = (await gateway.get("/api/v1/images/a/status", user="alice")).json()["data"]
        stats = (await gateway.request("GET", "/api/v1/monitoring/stats", admin=True)).json()["data"]
        due_at = status["refresh_due_at"]
        return stats["total_cached_urls"] == 1 and due_at is not None and due_at <= status["expires_at"] - 3000

    await until(is_due_in_time)


@proves("url_prerefresh.lease", "url_prerefresh.max_attempts")
async def test_claims_hold_and_fail_by_the_new_limits(start_gateway: StartGateway, redis_client: redis.Redis) -> None:
    gateway = await start_gateway(url_prerefresh={"enabled": False})
    await gateway.reload(url_prerefresh={"lease": 7, "max_attempts": 1})
    queue, variant = gateway.redis.queue, ImageVariant("a")
    await queue.schedule({variant: 1.0})
    assert len(await queue.claim(1000.0, 10)) == 1
    assert redis_client.zscore("image:refresh:queue", "a") == 1007.0
    assert await queue.fail(variant, "for a test", 1000.0)


@proves("url_prerefresh.interval")
async def test_rounds_follow_each_other_at_the_new_interval(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(url_prerefresh={"interval": 3600})
    report = gateway.service.refresh
    await until(lambda: report.last_run is not None)
    first = report.last_run
    await gateway.reload(url_prerefresh={"interval": 0.01})
    await until(lambda: report.last_run != first)


@proves("url_prerefresh.batch_size")
async def test_batches_have_the_new_size(gateway: RunningGateway, images: Images, redis_client: redis.Redis) -> None:
    await gateway.reload(url_prerefresh={"batch_size": 1})
    for image_id in ("a", "b"):
        await images.add(image_id)
        await gateway.get(f"/i/{image_id}")
    await gateway.flush_uses()
    redis_client.delete("image:url:a", "image:url:b")
    before = gateway.sample("catalog_queries_total", result="found")
    await gateway.redis.queue.schedule({ImageVariant("a"): 1.0, ImageVariant("b"): 1.0})
    await until(lambda: gateway.sample("refresh_total", result="renewed") == 2)
    assert gateway.sample("catalog_queries_total", result="found") == before + 2


@proves("url_prerefresh.idle_after")
async def test_what_was_not_used_for_so_long_is_not_renewed(
    gateway: RunningGateway, images: Images, redis_client: redis.Redis
) -> None:
    await images.add("a")
    await gateway.get("/i/a")
    await gateway.flush_uses()
    await gateway.reload(url_prerefresh={"idle_after": 1})

    async def is_idle() -> bool:
        await gateway.redis.queue.schedule({ImageVariant("a"): 1.0})
        return gateway.sample("refresh_total", result="idle") > 0

    await until(is_idle)


@proves("server.ready_without_stores", "server.ready_without_rows")
@pytest.mark.parametrize(
    ("setting", "others"),
    [("ready_without_stores", {"redis": {"url": "redis://127.0.0.1:1"}}), ("ready_without_rows", {})],
)
async def test_a_gateway_without_stores_is_ready_as_it_says_now(
    start_gateway: StartGateway, images: Images, setting: str, others: dict[str, dict[str, str]]
) -> None:
    gateway = await start_gateway(**others)
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 200

    async def answers(status: int, postgres: str) -> bool:
        answer = await gateway.get("/readyz")
        return (answer.status, answer.json()["checks"]["postgres"]) == (status, postgres)

    await images.execute("ALTER TABLE images RENAME TO away")
    try:
        await until(lambda: answers(200, "down"))
        await gateway.reload(server={setting: False})
        await until(lambda: answers(503, "down"))
    finally:
        await images.execute("ALTER TABLE away RENAME TO images")
    await until(lambda: answers(200, "ok"))
