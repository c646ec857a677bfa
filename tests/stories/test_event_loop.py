"""Background work never delays requests: the event loop runs in short steps, even with many ids in use."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import yaml

from gateway_dev.database import ImageRow, ImagesTable
from tests.processes import GatewayProcess, gateway_process

IDS_A_SECOND = 12_000
KEPT = 10_000
IMAGES = 2_000
AT_ONCE = 20
SECONDS = 6
LONGEST = 0.010  # seconds of processor time, on a machine that is not slow


@pytest.fixture
def busy_settings(raw_settings: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    """URLs of half a minute, which are renewed all the time, and fewer ids than are used in a second are kept."""
    raw_settings["url_cache"] = {"default_ttl": 30, "max_size": KEPT}
    raw_settings["url_prerefresh"] = {"threshold": 28, "lease": 2, "interval": 5}
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


def rows(folder: str, count: int) -> list[ImageRow]:
    """Public images with their objects in ``folder``."""
    return [ImageRow(f"id-{number}", None, f"{folder}/{number}.png", public=True) for number in range(count)]


async def test_nothing_holds_up_the_event_loop_while_twelve_thousand_ids_are_used_in_a_second(
    busy_settings: Path, images_table: ImagesTable, redis_client: "redis.Redis", tmp_path: Path
) -> None:
    """Counting, statistics, renewals, trimming, and a change of a thousand rows at once, during requests."""
    await asyncio.to_thread(images_table.put, rows("objects", IMAGES))
    report = tmp_path / "iterations.json"
    program = (sys.executable, "-m", "tests.measured_gateway")
    arguments = (str(busy_settings), str(IDS_A_SECOND), str(report))
    async with (
        gateway_process(*arguments, program=program) as running,
        aiohttp.ClientSession() as session,
    ):
        began = time.time()
        await _ask_for_urls(session, running, until=began + SECONDS / 2)
        await asyncio.to_thread(images_table.put, rows("new", IMAGES // 2))
        await _ask_for_urls(session, running, until=began + SECONDS)
        ended = time.time()
        async with session.get(running.admin + "/api/v1/monitoring/stats") as answer:
            stats = (await answer.json())["data"]
        running.terminate()
        assert await running.exit_code() == 0
    assert redis_client.zcard("image:index:hits") >= KEPT
    assert stats["refresh"]["total_refreshed"] > 0
    # Work in one piece makes a long step in each second. Four may be long for another reason: while other processes
    # crowd the processor's caches, a garbage collection takes several times as long.
    steps = sorted((took for at, took in json.loads(report.read_text()) if began < at < ended), reverse=True)
    assert steps[4] < LONGEST, f"the longest steps of the event loop took {steps[:10]} seconds"


async def _ask_for_urls(session: aiohttp.ClientSession, running: GatewayProcess, until: float) -> None:
    """Ask for the URLs of all images in turn."""
    start = 0
    while time.time() < until:
        body = {"image_ids": [f"id-{number}" for number in range(start, start + AT_ONCE)]}
        async with session.post(running.public + "/api/v1/images/urls", json=body) as answer:
            assert len((await answer.json())["data"]["urls"]) == AT_ONCE
        start = (start + AT_ONCE) % IMAGES
