"""The refresh cycle under load: two processes, ten thousand short-lived URLs, and one of them killed."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
import yaml

from gateway.dev.database import ImageRow, ImagesTable
from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.entry_codec import EntryMac
from tests.conftest import SECRET_KEY
from tests.processes import GatewayProcess, gateway_process

pytestmark = pytest.mark.usefixtures("forked_commands")

IDS = 10_000
LIFE = 12
MAC = EntryMac(SECRET_KEY)


@pytest.fixture
def short_lived(raw_settings: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    """URLs of twelve seconds, renewed from six seconds before their end."""
    raw_settings["url_cache"] = {"default_ttl": LIFE, "max_size": IDS * 2}
    raw_settings["url_prerefresh"] = {"threshold": 6, "lease": 2, "interval": 5, "batch_size": 200}
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


def entries(client: "redis.Redis") -> dict[str, int]:
    """The end of each cached URL, by image id; without missing entries."""
    ids = [f"id-{number}" for number in range(IDS)]
    values: list[bytes | None] = client.mget([f"image:url:{image_id}" for image_id in ids])  # type: ignore[assignment]
    return {
        image_id: int(MAC.verify(value, ImageVariant(image_id)).partition(b" ")[0])
        for image_id, value in zip(ids, values, strict=True)
        if value is not None
    }


async def warm(running: GatewayProcess) -> None:
    """Ask for every URL once, two hundred at a time."""
    async with aiohttp.ClientSession() as session:
        for start in range(0, IDS, 200):
            body = {"image_ids": [f"id-{number}" for number in range(start, start + 200)]}
            async with session.post(running.public + "/api/v1/images/urls", json=body) as answer:
                assert len((await answer.json())["data"]["urls"]) == 200


async def test_a_killed_replica_leaves_not_one_url_expired(
    short_lived: Path, images_table: ImagesTable, redis_client: "redis.Redis"
) -> None:
    """A ``kill -9`` in the middle of a batch: the other finishes it, and no id is lost."""
    rows = [ImageRow(f"id-{number}", None, f"objects/{number}.png", public=True) for number in range(IDS)]
    await asyncio.to_thread(images_table.put, rows)
    async with (
        gateway_process("serve", "--config", str(short_lived)) as victim,
        gateway_process("serve", "--config", str(short_lived)) as survivor,
    ):
        await warm(survivor)
        started = time.monotonic()
        killed = False
        seen: set[int] = set()
        while time.monotonic() - started < 2.5 * LIFE:
            kept = await asyncio.to_thread(entries, redis_client)
            assert len(kept) == IDS, f"{IDS - len(kept)} URLs have expired"
            assert min(kept.values()) > time.time(), "a URL in the cache is dead"
            seen |= set(kept.values())
            if not killed and time.monotonic() - started > LIFE and await _is_working(victim):
                victim.process.kill()
                killed = True
            await asyncio.sleep(0.2)
        assert killed
        stats = await _stats(survivor)
    assert max(seen) - min(seen) > 2 * LIFE  # each was renewed more than once
    assert stats["refresh_queue_length"] == IDS
    assert stats["refresh_dead"] == 0
    assert stats["refresh"]["error_count"] == 0


async def _stats(running: GatewayProcess) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(running.admin + "/api/v1/monitoring/stats") as answer:
        data: dict[str, Any] = (await answer.json())["data"]
        return data


async def _is_working(running: GatewayProcess) -> bool:
    """Whether it has renewed something, so that a kill hits it at work."""
    return bool((await _stats(running))["refresh"]["total_refreshed"])
