"""Handlers for operators: statistics, the refresh queue, purging."""

import asyncio
import json
import math
import time
from typing import Any

import redis

from gateway.api.routes import IMAGE_ROUTES
from gateway.service.ports import applications
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT
from tests.waiting import until_listening

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


async def data(gateway: RunningGateway, path: str) -> dict[str, Any]:
    answer = await gateway.get(f"/api/v1/monitoring/{path}", admin=True)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()["data"]
    return found


async def test_the_daily_statistics_count_every_address_of_one_image(gateway: RunningGateway) -> None:
    of_an_image = {
        resource.name
        for resource in applications(gateway.service)[0].router.resources()
        if "{image_id}" in resource.canonical or "{alias}" in resource.canonical
    }
    assert of_an_image == IMAGE_ROUTES


async def test_stats_describe_the_url_cache(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await until_listening(gateway, redis_client)
    empty = await data(gateway, "stats")
    assert empty["total_cached_urls"] == 0
    assert empty["cache_hit_rate"] is None
    await images.add("a")
    await images.add("b")
    for image_id in "aaab":
        await gateway.get(f"/i/{image_id}")
    stats = await data(gateway, "stats")
    assert stats.keys() == {
        "total_cached_urls",
        "expiring_soon",
        "refresh_queue_length",
        "refresh_due",
        "refresh_dead",
        "cache_hit_rate",
        "hit_rate_by_tier",
        "last_updated",
        "refresh",
    }
    assert (stats["total_cached_urls"], stats["expiring_soon"], stats["refresh_queue_length"]) == (2, 0, 2)
    assert stats["cache_hit_rate"] == 0.5
    assert stats["hit_rate_by_tier"] == {"local": 0.5, "redis": 0.0}
    assert abs(stats["last_updated"] - time.time()) < LIMIT
    assert stats["refresh"]["running"] is True
    assert stats["refresh"]["total_refreshed"] == 0


async def test_days_are_counted_and_written_together(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await until_listening(gateway, redis_client)
    await images.add("a")
    await images.add("b")
    for path in ("/i/a", "/i/a", "/i/b", "/i/never-there"):
        await gateway.get(path)
    async with asyncio.timeout(LIMIT):  # the images are written after the counts
        while (today := (await data(gateway, "stats/daily?days=2"))["days"][0])["distinct_images"] < 2 or (
            today["misses"] < 3
        ):
            await asyncio.sleep(0.05)
    assert today["date"] == time.strftime("%Y-%m-%d", time.gmtime())
    assert (today["requests"], today["errors"], today["distinct_images"]) == (3, 0, 2)
    assert (today["hits_local"], today["misses"]) == (1, 3)
    assert today["hit_rate"] == 0.25
    assert today["mean_response_ms"] > 0
    yesterday = (await data(gateway, "stats/daily?days=2"))["days"][1]
    assert (yesterday["requests"], yesterday["hit_rate"], yesterday["mean_response_ms"]) == (0, None, None)
    days = 30 * 24 * 3600
    assert days <= redis_client.ttl(f"image:stats:daily:{today['date']}") <= days + 24 * 3600


async def test_counters_are_flushed_at_shutdown_without_images_of_requests_with_bad_credentials(
    start_gateway: StartGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("a")
    gateway = await start_gateway()
    for number in range(5):
        await gateway.get("/i/a")
        answer = await gateway.get(f"/i/made-up-{number}", headers={"Authorization": "Bearer no.such.token"})
        assert answer.status == 401
    await gateway.close()
    assert redis_client.zscore("image:index:hits", "a") == 5
    today = f"image:stats:daily:{time.strftime('%Y-%m-%d', time.gmtime())}"
    assert (redis_client.hget(today, "requests"), redis_client.pfcount(f"{today}:images")) == (b"5", 1)


async def test_an_invalid_number_of_days_and_an_invalid_id_to_purge_are_a_400(gateway: RunningGateway) -> None:
    for days in ("0", "31", "-1", "x", "", "1e3", "1" * 4301, "0" * 4301, "\u0667"):
        answer = await gateway.get("/api/v1/monitoring/stats/daily", admin=True, params={"days": days})
        assert answer.status == 400, days
    bodies: list[Any] = [{"image_ids": ["../x"]}, {"image_ids": []}, {"ids": ["a"]}, ["a"]]
    for body in bodies:
        answer = await gateway.request("POST", "/api/v1/cache/purge", admin=True, headers=ADMIN, json=body)
        assert answer.status == 400, body


async def test_foreign_values_in_redis_cause_no_error_and_no_invalid_json(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("a", owner="alice")
    await gateway.get("/i/a")
    for name in ("used", "hits", "refreshes", "expiry"):
        redis_client.zadd(f"image:index:{name}", {b"a": math.inf, b"a\0b": math.inf})
        redis_client.expire(f"image:index:{name}", 100)
    redis_client.zadd("image:refresh:queue", {b"a": math.inf, b"far": 1e300, b"b": -math.inf, b"a\0b": 1})
    redis_client.hset("image:refresh:dead", mapping={b"a\0b": "x", "c": '{"reason": [], "at": NaN, "attempts": 1}'})
    redis_client.hset(f"image:stats:daily:{time.strftime('%Y-%m-%d', time.gmtime())}", b"\xff", "nan")

    def no_number(constant: str) -> None:
        raise AssertionError(constant)

    for path in ("stats", "stats/daily", "queue"):
        answer = await gateway.get(f"/api/v1/monitoring/{path}", admin=True)
        assert answer.status == 200, path
        json.loads(answer.body, parse_constant=no_number)
    for path in ("url", "status"):
        answer = await gateway.get(f"/api/v1/images/a/{path}", user="alice")
        assert answer.status == 200, answer.body
        json.loads(answer.body, parse_constant=no_number)


async def test_without_redis_monitoring_is_a_503(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(redis={"url": "redis://127.0.0.1:1/0"})
    for path in ("stats", "stats/daily", "queue"):
        answer = await gateway.get(f"/api/v1/monitoring/{path}", admin=True)
        assert (answer.status, answer.json()["code"]) == (503, "cache_unavailable")
    # Counted apart from the public port, so that alerts on its errors do not fire.
    assert gateway.sample("requests_total", route="admin:stats", delivery="none", status="503") == 1
    assert gateway.sample("requests_total", route="stats", delivery="none", status="503") == 0


async def test_what_is_turned_off_is_a_404_and_nothing_is_renewed_without_renewal(start_gateway: StartGateway) -> None:
    without_cache = await start_gateway(url_cache={"enabled": False})
    for path in ("stats", "stats/daily", "queue"):
        assert (await without_cache.get(f"/api/v1/monitoring/{path}", admin=True)).status == 404
    without = await start_gateway(url_stats={"enabled": False}, url_prerefresh={"enabled": False})
    assert (await without.get("/api/v1/monitoring/stats/daily", admin=True)).status == 404
    assert (await data(without, "stats"))["total_cached_urls"] == 0
    for gateway in (without_cache, without):
        assert gateway.sample("refresh_last_success_timestamp_seconds") == 0


async def test_the_most_used_urls_are_loaded_at_the_start(start_gateway: StartGateway, images: Images) -> None:
    first = await start_gateway()
    for image_id in "abc":
        await images.add(image_id)
    for image_id in "aabbbc":
        await first.get(f"/i/{image_id}")
    await first.close()
    second = await start_gateway(url_cache={"warm_top": 2}, postgres={"listen": False})
    async with asyncio.timeout(LIMIT):
        while second.sample("url_cache_lookups_total", tier="redis", result="hit") < 2:
            await asyncio.sleep(0.02)


async def test_pages_of_other_sites_can_read_no_response_of_the_admin_port(gateway: RunningGateway) -> None:
    """A page in an operator's browser can send requests to the admin port."""
    for path in ("/api/v1/monitoring/queue", "/api/v1/monitoring/stats", "/nothing", "/readyz"):
        answer = await gateway.request("GET", path, admin=True, headers={"Origin": "https://page.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_admin_signs_a_new_url_of_any_image_and_gets_it_if_everybody_may(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("open", owner="alice")
    for gateway, is_shown in (
        (await start_gateway(image_variants={"originals": "owner"}), False),
        (await start_gateway(), True),
    ):
        answer = await gateway.request("POST", "/api/v1/images/open/url/refresh", admin=True, headers=ADMIN)
        assert (answer.json()["data"]["url"] is not None) == is_shown
    await images.add("a", owner="alice", public=False)
    path = "/api/v1/images/a/url/refresh"
    for headers in ({}, {"Authorization": f"Bearer {token_for('alice')}"}):
        assert (await gateway.request("POST", path, admin=True, headers=headers)).status == 401
    answer = await gateway.request("POST", path, admin=True, headers=ADMIN)
    data = answer.json()["data"]
    assert (answer.status, data.keys()) == (200, {"image_id", "url", "expires_at"})
    signed = (await gateway.get("/api/v1/images/a/url", user="alice")).json()["data"]
    assert (data["url"], data["expires_at"]) == (None, signed["expires_at"])
    status = "/api/v1/images/a/status"
    of_owner = (await gateway.get(status, user="alice")).json()["data"]
    assert of_owner["refresh_count"] == 1
    assert (await gateway.get(status, admin=True)).status == 401
    of_admin = (await gateway.get(status, admin=True, headers=ADMIN)).json()["data"]
    # The time of a use that is not written yet is that of the reading: it moves between the two.
    assert of_owner["last_access"] <= of_admin["last_access"] <= time.time()
    assert of_admin | {"last_access": of_owner["last_access"]} == of_owner
    for unknown, code in (("never-there", "image_not_found"), ("a%00b", "invalid_image_id")):
        refused = await gateway.request("POST", f"/api/v1/images/{unknown}/url/refresh", admin=True, headers=ADMIN)
        assert refused.json()["code"] == code
    assert (await gateway.get(path, admin=True, headers=ADMIN)).status == 405
    assert "OPTIONS" not in (await gateway.get(path, admin=True)).headers["Allow"]
