"""An image streamed through the gateway."""

import re

import redis

from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until_listening


async def test_a_public_image_arrives_byte_for_byte(gateway: RunningGateway, images: Images) -> None:
    data = bytes(range(256)) * 600
    await images.add("sunrise", data, content_type="image/jpeg")
    for path in ("/api/v1/images/sunrise/proxy", "/i/sunrise"):
        answer = await gateway.get(path)
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["ETag"])
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Cache-Control"].startswith("public, max-age=3600, stale-while-revalidate=")


async def test_a_warm_request_reads_neither_redis_nor_postgres(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await until_listening(gateway, redis_client)
    await images.add("hot", b"x" * 1000)
    await gateway.get("/i/hot")
    queries = gateway.sample("catalog_queries_total", result="found")
    gets = redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    for _ in range(20):
        assert (await gateway.get("/i/hot")).status == 200
    assert gateway.sample("catalog_queries_total", result="found") == queries == 1
    assert redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0) == gets
    assert gateway.sample("url_cache_lookups_total", tier="local", result="hit") == 20
    assert gateway.sample("presigns_total") == 1


async def test_the_proxy_can_be_turned_off(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"enabled": False})
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 404
    assert (await gateway.get("/api/v1/images/a/url")).status == 200
