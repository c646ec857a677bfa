"""A reload changes how bytes are delivered: memory, retries, life in caches, on or off, the grace of a stop."""

import asyncio
import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.reload.proofs import proves
from tests.reload.test_access import purge


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, whose level and handlers are put back."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield root
    root.setLevel(level)
    root.handlers[:] = handlers


@proves(
    "image_proxy.enabled",
    "image_proxy.max_age",
    "image_proxy.shared_max_age",
    "image_proxy.stale_while_revalidate",
    "image_proxy.stale_if_error",
    "server.cors_origins",
)
async def test_the_life_in_caches_who_may_read_and_whether_images_are_served(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("a")
    origin = "https://www.example.com"

    async def allowed() -> str:
        return (await gateway.get("/i/a", headers={"Origin": origin})).headers["Access-Control-Allow-Origin"]

    for origins, answer in (([], "*"), ([origin], origin), ([], "*")):
        await gateway.reload(server={"cors_origins": origins})
        assert await allowed() == answer
    await gateway.reload(
        image_proxy={"max_age": 77, "shared_max_age": 88, "stale_while_revalidate": 9, "stale_if_error": 0}
    )
    cache_control = (await gateway.get("/i/a")).headers["Cache-Control"]
    assert cache_control == "public, max-age=77, s-maxage=88, stale-while-revalidate=9"
    for enabled, statuses in ((True, (200, 200)), (False, (404, 403)), (True, (200, 200))):
        await gateway.reload(image_proxy={"enabled": enabled})
        answers = [await gateway.get(path) for path in ("/i/a", "/api/v1/images/a/access")]
        assert tuple(answer.status for answer in answers) == statuses


@proves(
    "image_proxy.memory_cache.max_bytes", "image_proxy.memory_cache.max_object_bytes", "image_proxy.memory_cache.ttl"
)
async def test_memory_keeps_within_the_new_limits_at_once(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", b"x" * 1000)
    await images.add("b", b"x" * 1000)
    await gateway.get("/i/a")
    await gateway.get("/i/b")
    assert gateway.sample("memory_cache_bytes") == 2000
    await gateway.reload(image_proxy={"memory_cache": {"max_bytes": 1500}})
    assert gateway.sample("memory_cache_bytes") == 1000
    assert "hit" in (await gateway.get("/i/b")).headers["Cache-Status"]
    await gateway.reload(image_proxy={"memory_cache": {"max_bytes": 1500, "ttl": 0}})
    assert "fwd=stale" in (await gateway.get("/i/b")).headers["Cache-Status"]
    await gateway.reload(image_proxy={"memory_cache": {"max_bytes": 0}})
    assert gateway.sample("memory_cache_bytes") == 0
    await gateway.reload(image_proxy={"memory_cache": {"max_object_bytes": 999}})
    await gateway.get("/i/a")
    assert gateway.sample("memory_cache_bytes") == 0


@proves("image_proxy.retry_count")
async def test_requests_to_cos_are_repeated_as_often_as_it_says_now(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    await images.add("a")
    failure = Fault(action=Refuse(status=500, code="InternalError"))
    cos.faults.add(failure)
    assert (await gateway.get("/i/a")).status == 502
    await gateway.reload(image_proxy={"retry_count": 2})
    await images.add("b")
    cos.faults.add(failure)
    assert (await gateway.get("/i/b")).status == 200


@proves("server.shutdown_grace")
async def test_a_stop_waits_as_long_as_it_says_now(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(server={"shutdown_grace": 600}, image_proxy={"timeout": 60})
    await images.add_hanging("slow")
    await gateway.reload(server={"shutdown_grace": 0.1})
    async with (
        aiohttp.ClientSession() as session,
        session.get(gateway.ports.public + "/i/slow") as answer,
        asyncio.timeout(LIMIT),
    ):
        await answer.content.readexactly(500_000)
        await gateway.close()
        with pytest.raises(aiohttp.ClientError):
            await answer.content.read()


@proves("logging.level")
async def test_the_level_of_the_log_changes_also_behind_the_debug_log(
    gateway: RunningGateway, root_logger: logging.Logger
) -> None:
    await gateway.reload(logging={"level": "warning"})
    assert root_logger.level == logging.WARNING
    gateway.service.requests.debug_log.start()
    await gateway.reload(logging={"level": "error"})
    assert root_logger.level == logging.DEBUG
    gateway.service.requests.debug_log.stop()
    assert root_logger.level == logging.ERROR


@proves("logging.access", "logging.access_sample")
async def test_lines_of_requests_are_written_as_it_says_now(
    access_lines: io.StringIO, gateway: RunningGateway, images: Images
) -> None:
    await images.add("a")

    async def lines() -> int:
        before = access_lines.getvalue()
        assert (await gateway.get("/i/a")).status == 200
        gateway.flush_request_log()
        return len(access_lines.getvalue().removeprefix(before).splitlines())

    assert await lines() == 1
    await gateway.reload(logging={"access": False})
    assert await lines() == 0
    await gateway.reload(logging={"access": True, "access_sample": 0})
    assert await lines() == 0
    await gateway.reload(logging={"access": True, "access_sample": 1})
    assert await lines() == 1


async def test_reloads_follow_one_another_and_each_sees_the_newest(gateway: RunningGateway, images: Images) -> None:
    await images.add("a")
    results = await asyncio.gather(*(gateway.reload(image_proxy={"max_age": age}) for age in range(100, 110)))
    assert [key for result in results for key in result.changed] == ["image_proxy.max_age"]
    assert "max-age=109," in (await gateway.get("/i/a")).headers["Cache-Control"]
    assert gateway.sample("config_last_reload_success_timestamp_seconds") == pytest.approx(time.time(), abs=LIMIT)


@proves("logging.audit", "url_stats.retention_days")
async def test_what_operators_do_and_read_follows_the_new_settings(gateway: RunningGateway, tmp_path: Path) -> None:
    file = tmp_path / "audit.log"

    async def status() -> int:
        return (await gateway.request("GET", "/api/v1/monitoring/stats/daily?days=60", admin=True)).status

    assert await status() == 400
    await gateway.reload(logging={"audit": str(file)}, url_stats={"retention_days": 60})
    assert await status() == 200
    await purge(gateway)
    written = await asyncio.to_thread(file.read_text)
    assert '"action": "purge"' in written
    await gateway.reload(logging={"audit": None})
    await purge(gateway)
    assert await asyncio.to_thread(file.read_text) == written
