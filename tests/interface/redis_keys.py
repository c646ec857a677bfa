"""The keys of Redis with their types and shapes, as the stores write them to a real server: releases share it."""

import asyncio
import json
import re
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from gateway.catalog.record import ImageMetadata, ImageRecord
from gateway.changes.change_log import ChangeLog, Scope
from gateway.concurrency.background import background
from gateway.metrics.canary import CanaryOutcome
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_connection.client import check_settings, open_redis
from gateway.redis_connection.shards import Shards
from gateway.redis_entries.daily_statistics import DailyStatistics
from gateway.redis_entries.metadata_store import MetadataStore
from gateway.redis_entries.url_entries import Made
from gateway.redis_entries.usage_store import Usage
from gateway.redis_queue.purge_queue import PurgeQueue
from gateway.redis_replicas.canary_rounds import CanaryRounds
from gateway.redis_replicas.invalidation_channel import InvalidationChannel
from gateway.redis_replicas.replica_questions import Question, ReplicaAnswer, ReplicaQuestions
from gateway.redis_replicas.replica_store import ReplicaPoint, ReplicaStore
from gateway.settings import CanarySettings, Live, RedisSettings, UrlStatsSettings
from gateway_dev.redis_server import RedisServer
from tests.tier import Clock, Tier, make_tier, record

# Each is in another shard than the first, where what belongs to no image is.
IMAGE: Final = ImageVariant("IMAGE", None)
STYLED: Final = ImageVariant("IMAGE", "style")
GIVEN_UP: Final = "GIVEN_UP"
DROPPED: Final = "DROPPED"

# The order of the values of a cached URL.
_OF_AN_ENTRY: Final = (
    *("signed_at", "read_at", "secret_id", "signature", "token"),
    *(field.name for field in fields(ImageRecord) if field.name != "image_id"),
)
_NAMES: Final = (
    (r"IMAGE|GIVEN_UP|DROPPED", "ID"),
    (r"\{s0[1-3]\}", "{sNN}"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r"\b([0-9a-f]{16}|0{32})\b", "RANDOM"),
    (r"^\d+\.\d+,", "TIME,"),
)


def redis_keys() -> list[str]:
    """Return lines for the keys, their values, and the messages to other replicas; the names again with shards."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), ephemeral=True) as server:
        return asyncio.run(_described(server.url))


async def _described(url: str) -> list[str]:
    lines = ["IMAGE is in shard 3 of 4"]
    for count in (1, 4):
        settings = RedisSettings(url=SecretStr(url), timeout=30, shards=count)
        async with open_redis(settings) as shards:
            assert shards.of(IMAGE.image_id) is shards.all[3 % count]
            renditions = Live(Renditions({"style": "imageMogr2/thumbnail/8x"}))
            tier = make_tier(shards, Clock(time.time()), renditions=renditions)
            await _write(tier, settings)
            redis = shards.servers.all[0].client
            found = {key: await _values(redis, key) async for key in redis.scan_iter()}
            lock = shards.of(IMAGE.image_id).key("refresh", "lock", "IMAGE").encode()
            while not found.get(lock):  # it ends after a second
                await tier.cache.lock_refresh(IMAGE)
                found[lock] = await _values(redis, lock)
            for key, values in found.items():
                if count == 1:
                    lines += [f"{_named(key.decode())}: {value}" for value in values]
                elif b"{" in key:
                    lines.append(_named(key.decode()))
            if count == 1:
                lines += [f"{shards.prefix}changes: message, {message}" for message in await _messages(shards)]
            await redis.flushdb()
    return lines


async def _values(redis: Any, key: bytes) -> list[str]:
    """Return for each value the type of the key, whether it expires, and the shape of the value."""
    kind, end = (await redis.type(key)).decode(), "kept" if await redis.ttl(key) == -1 else "expires"
    match kind:
        case "none":
            values = []
        case "string":
            values = [_shape(await redis.get(key) or b"")]
        case "hash":
            values = [f"{_shape(field)} -> {_shape(value)}" for field, value in (await redis.hgetall(key)).items()]
        case "list":
            values = [_shape(member) for member in await redis.lrange(key, 0, -1)]
        case _:
            values = [f"{_shape(member)} by number" for member in await redis.zrange(key, 0, -1)]
    return [f"{kind}, {end}, {value}" for value in values]


async def _messages(shards: Shards) -> list[str]:
    """Return what replicas publish: a changed image, a new URL, and what caches in front must forget."""
    channel, log = InvalidationChannel(shards), ChangeLog([], "test", 0)
    log.unpublished.update(Scope)
    async with shards.servers.all[0].client.pubsub(ignore_subscribe_messages=True) as heard:

        async def received(count: int) -> list[str]:
            messages: list[str] = []
            while len(messages) < count:
                if (message := await heard.get_message(timeout=30)) is not None:
                    messages.append(_named(message["data"].decode()))
            return messages

        await heard.subscribe(f"{shards.prefix}changes")
        await channel.publish(["IMAGE", "DROPPED"])
        await channel.publish(["IMAGE"], only_urls=True)
        await channel.ask(Question("0" * 32, "IMAGE").encode())
        named = await received(3)
        async with background("sweeps", channel.publish_sweeps(log)):
            return named + sorted(await received(len(Scope)))


def _named(text: str) -> str:
    for pattern, name in _NAMES:
        text = re.sub(pattern, name, text)
    return text


def _shape(value: bytes) -> str:
    """Return the value without what is no part of its form: JSON as its names and types."""
    if value.startswith(b"HYLL"):
        return "HyperLogLog"
    text = value.decode()
    if re.fullmatch(r"-[0-9a-f]{16}", text):  # a tombstone, which may look like a number
        return _named(text)
    if entry := re.fullmatch(r"\d+ \S+ (\[.*\])", text):
        values = zip(_OF_AN_ENTRY, json.loads(entry[1]), strict=False)
        return f"end MAC [{', '.join(f'{name}: {_type(value)}' for name, value in values)}]"
    try:
        parsed = json.loads(text)
    except ValueError:
        return _named(text) or "empty"
    if isinstance(parsed, dict):
        names = [f"{name}: {parsed[name] if name == 'v' else _type(parsed[name])}" for name in sorted(parsed)]
        return f"{{{', '.join(names)}}}"
    return f"[{', '.join(map(_type, parsed))}]" if isinstance(parsed, list) else _type(parsed)


def _type(value: Any) -> str:
    return {
        bool: "boolean",
        int: "number",
        float: "number",
        str: "text",
        list: "list",
        dict: "object",
        type(None): "null",
    }[type(value)]


async def _write(tier: Tier, settings: RedisSettings) -> None:
    """Let each store write what it writes."""
    now, shards = tier.clock.now, tier.shards
    image = record("IMAGE", width=1, height=1, focus="f", version="v", placeholder="p", links_killed=1)
    await tier.cache.drop([DROPPED])
    # Its id spells a style of another image.
    other = record("GIVEN_UP:style")
    styles = ((image, None), (image, "style"), (other, None))
    made = [Made(tier.urls.sign(each, style, int(now))) for each, style in styles]
    await tier.cache.keep(made)
    await tier.count({variant: Usage(1, 1, now) for variant in (IMAGE, STYLED)})
    purges = PurgeQueue(shards, per_second=0.01)
    await purges.enqueue(["IMAGE", GIVEN_UP], now, replica="REPLICA")
    await purges.take_slot()
    given_up = ImageVariant(GIVEN_UP, "style")
    await tier.queue.schedule({given_up: now})
    await tier.queue.fail(IMAGE, "reason", now)
    await purges.fail(IMAGE, "reason", now)
    while not await tier.queue.fail(given_up, "reason", now):
        pass
    while not await purges.fail(ImageVariant(GIVEN_UP), "reason", now):
        pass
    daily = DailyStatistics(shards, Live(UrlStatsSettings()))
    total = iter((0, 1))
    daily.watch("requests", lambda: next(total))
    daily.add_images(["IMAGE"])
    await daily.flush()
    point = ReplicaPoint("name", now, 1.0, 1.0, "version", "entry key", now, 1, 1, 1)
    await ReplicaStore(shards).publish(point)
    await MetadataStore(shards).put(image, ImageMetadata(1, 1, "#000000"))
    await check_settings(shards, settings)
    rounds = CanaryRounds(shards, CanarySettings(via=("https://img.example.com",), public="a", private="b"))
    await rounds.claim(3600)
    answer = ReplicaAnswer("name", "version", "program", "settings", "entry key", "ok", {"nginx": 1.0}, "error")
    await ReplicaQuestions(shards, InvalidationChannel(shards)).answer(Question("0" * 32, None), answer)
    await rounds.publish([CanaryOutcome("https://img.example.com", "public", True, "200", 0.1, now)], frozenset())
