"""The entries in Redis as a whole: their indexes, renewals and usage."""

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
import redis
from pydantic import SecretStr

from gateway.catalog.record import ImageMetadata
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable, GuardedRedis
from gateway.redis_connection.shards import OneServer, Shards
from gateway.redis_entries.metadata_store import MetadataStore
from gateway.redis_entries.url_entries import Made
from gateway.redis_entries.usage_store import Usage
from gateway.settings import RedisSettings
from gateway.urls.usage_counter import UsageCounter
from tests.signed_images import signed_image
from tests.tier import Clock, Tier, also_in_a_cluster, make_tier, record
from tests.urls.test_refresh_batch import keep, refresh_worker_of

A = ImageVariant("a")


async def give_up(tier: Tier, variant: ImageVariant) -> None:
    """Let the renewal of the variant fail for the last time."""
    while not await tier.queue.fail(variant, "no such key", tier.clock()):
        pass


@also_in_a_cluster
async def test_i7_an_entry_lives_as_long_as_its_url_less_the_margin(tier: Tier) -> None:
    await keep(tier, "a")
    image = (await tier.cache.find([A]))[A].image
    assert image is not None
    usable = image.presigned.expires_at - tier.lifetime.margin(image.presigned) - tier.clock()
    shard = tier.shards.of("a")
    [left] = await tier.shards.run_on(shard, ("TTL", shard.entry(A)))
    assert usable - 30 <= left <= usable


@pytest.mark.parametrize("version", [None, "7", "7 of this month"])
async def test_metadata_is_of_one_object_alone_also_if_another_object_has_the_same_version(
    tier: Tier, version: str | None
) -> None:
    """As while two replicas read rows from two tables: a placeholder shows the image."""
    metadata = ImageMetadata(16, 12, "#ff0000", "data:image/webp;base64,AAAA")
    store, described = MetadataStore(tier.shards), record(key="a.png", version=version)
    await store.put(described, metadata)
    assert await store.get_many([described]) == {"a": metadata}
    assert await store.get_many([record(key="secret.png", version=version)]) == {}
    assert await store.get_many([replace(described, version="8")]) == {}


async def test_the_cache_is_bounded_and_evicts_the_least_recently_used(tier: Tier, redis_client: "redis.Redis") -> None:
    for number in range(120):
        tier.clock.now += 0.1
        await keep(tier, f"id-{number}")
    await tier.count({ImageVariant("id-0"): Usage(access_count=1, last_access=tier.clock.now + 1)})
    assert await tier.maintenance.trim() == 20
    assert await tier.maintenance.trim() == 0
    assert redis_client.exists("image:url:id-0")
    assert not any(redis_client.exists(f"image:url:id-{number}") for number in range(1, 21))
    assert all(redis_client.exists(f"image:url:id-{number}") for number in range(21, 120))
    for name in ("image:refresh:queue", "image:index:used", "image:index:expiry"):
        assert redis_client.zcard(name) == 100


@also_in_a_cluster
async def test_i8_the_queue_is_bounded_as_the_cache_is(tier: Tier) -> None:
    """Each shard has its share of both."""
    small = make_tier(tier.shards, tier.clock, max_size=128)
    await keep(small, *(f"id-{number}" for number in range(400)))
    for _ in small.shards.all:  # it looks at a shard at a time
        await small.maintenance.trim()
    assert 64 <= (await small.queue.state(tier.clock())).queued <= 128
    assert len(await small.usage.hottest(1000)) <= 128


@also_in_a_cluster
async def test_i1_a_drop_removes_every_style_its_renewals_and_index_entries(tier: Tier) -> None:
    """The dead list, too: the row has changed or is gone, so what was given up is no renewal of it any more."""
    thumb, b = ImageVariant("a", "thumb"), ImageVariant("b")
    await keep(tier, "a", "b")
    await keep(tier, "a", style="thumb")
    await tier.cache.drop(["a"])
    found = await tier.cache.find([A, thumb, b])
    assert {variant for variant, there in found.items() if there.image is not None} == {b}
    assert [claim.item for claim in await tier.queue.first(10)] == [b]
    assert await tier.usage.cached(tier.clock(), 900) == (1, 0)
    for variant in (A, thumb, b):
        await give_up(tier, variant)
    await tier.cache.drop(["a"])
    assert [entry.item for entry in await tier.queue.dead()] == [b]


@also_in_a_cluster
async def test_an_entry_that_is_kept_while_its_image_is_dropped_stays_queued(tier: Tier) -> None:
    """A request may find the tombstone, read the row and keep a new entry before the drop has ended."""

    await keep(tier, "a")
    await tier.cache.drop(["a"])
    [found] = (await tier.cache.find([A])).values()
    signed = signed_image(record(), tier.signer.sign(record()), None, int(tier.clock()))
    await tier.cache.keep([Made(signed, found)])
    assert (await tier.cache.find([A]))[A].image is not None
    assert await tier.queue.due_at(A) is not None
    assert await tier.usage.cached(tier.clock(), 900) == (1, 0)


@also_in_a_cluster
async def test_a_change_of_the_row_does_not_zero_the_counts(tier: Tier) -> None:
    await keep(tier, "a")
    await tier.count({A: Usage(5, 2, tier.clock())})
    await tier.cache.drop(["a"])
    assert await tier.usage_of(A) == Usage(5, 2, tier.clock())
    await tier.maintenance.remove_usage(["a"])
    assert await tier.usage_of(A) == Usage()


@also_in_a_cluster
async def test_cached_and_expiring_urls_are_counted_without_scanning(tier: Tier) -> None:
    await keep(tier, "a")
    tier.clock.now += 1800
    await keep(tier, "b")
    assert await tier.usage.cached(tier.clock(), 900) == (2, 0)
    assert await tier.usage.cached(tier.clock(), 2000) == (2, 1)
    assert await tier.usage.cached(tier.clock() + 2000, 900) == (1, 0)


@also_in_a_cluster
async def test_the_most_used_images_are_returned(tier: Tier) -> None:
    await tier.count({ImageVariant(f"id-{n}"): Usage(access_count=n + 1, last_access=tier.clock()) for n in range(5)})
    assert await tier.usage.hottest(2) == ["id-4", "id-3"]


async def test_many_used_images_are_read_a_thousand_at_a_time(tier: Tier, redis_client: "redis.Redis") -> None:
    """So that requests are answered meanwhile."""
    uses = {f"id-{number}": number + 1 for number in range(2_500)}
    redis_client.zadd("image:index:hits", {**uses, "id-7|thumb": 3_000})
    redis_client.expire("image:index:hits", 100)
    redis_client.config_resetstat()
    assert await tier.usage.hottest(2_400) == ["id-7", *(f"id-{number}" for number in range(2_499, 100, -1))]
    assert redis_client.info("commandstats")["cmdstat_zrevrange"]["calls"] == 3


async def test_one_caller_in_a_second_renews_on_demand(tier: Tier, redis_client: "redis.Redis") -> None:
    redis_client.set("image:refresh:lock:a", b"", ex=60)  # of a caller whose second is not over before the test is
    assert not await tier.cache.lock_refresh(A)
    assert await tier.cache.lock_refresh(ImageVariant("b"))
    assert redis_client.pttl("image:refresh:lock:b") <= 1000, "-2 once it has ended"


async def test_prerefresh_turned_off_queues_nothing(tier: Tier, clock: Clock) -> None:
    other = make_tier(tier.shards, clock, renews=False)
    row = record()
    await other.cache.keep([Made(signed_image(row, other.signer.sign(row), None, 1))])
    assert (await other.queue.state(other.clock())).next_due is None


async def test_an_entry_is_kept_indexed_and_queued_in_one_round_trip(tier: Tier, redis_client: "redis.Redis") -> None:
    await keep(tier, "b")
    with redis_client.monitor() as monitor:  # type: ignore[no-untyped-call]
        await keep(tier, "a")
        await tier.server.client.echo("the end")
        commands = itertools.takewhile(lambda seen: not seen["command"].startswith("ECHO"), monitor.listen())
        sent = [seen["command"].split()[0] for seen in commands if seen["client_type"] != "lua"]
    assert sent == ["EVAL"]
    due = await tier.queue.due_at(A)
    assert due is not None
    assert tier.clock() < due < tier.clock() + 3600
    assert redis_client.zscore("image:index:used", "a") == tier.clock()
    assert await tier.usage.cached(tier.clock(), 0) == (2, 0)


async def test_an_entry_that_is_not_kept_is_neither_indexed_nor_queued(tier: Tier, redis_client: "redis.Redis") -> None:
    """Its image was dropped after its row was read; another one of the same batch is kept."""
    await tier.cache.drop(["a"])
    await keep(tier, "a", "b")
    assert [claim.item for claim in await tier.queue.first(10)] == [ImageVariant("b")]
    for name in ("used", "expiry"):
        assert redis_client.zrange(f"image:index:{name}", 0, -1) == [b"b"]


async def test_keeping_an_entry_again_keeps_its_last_access_and_forgets_its_failures(
    tier: Tier, redis_client: "redis.Redis"
) -> None:
    """Its attempts, and its place in the dead list. A renewal that is given up has no attempts any more."""
    await keep(tier, "a", "b")
    for variant in (A, ImageVariant("b")):
        await tier.queue.fail(variant, "no such key", tier.clock())
    before = tier.clock()
    tier.clock.now += 1000
    await keep(tier, "a")
    assert redis_client.zscore("image:index:used", "a") == before
    assert redis_client.hkeys("image:refresh:attempts") == [b"b"]
    for variant in (A, ImageVariant("b")):
        await give_up(tier, variant)
    await keep(tier, "a")
    assert [entry.item for entry in await tier.queue.dead()] == [ImageVariant("b")]


@pytest.mark.parametrize("name", ["index:used", "index:expiry", "refresh:queue", "refresh:attempts", "refresh:dead"])
async def test_an_index_of_the_wrong_type_is_reported_and_repaired(
    tier: Tier, redis_client: "redis.Redis", name: str
) -> None:
    redis_client.set(f"image:{name}", "garbage", ex=100)
    with pytest.raises(CacheUnavailable):
        await keep(tier, "a")
    assert redis_client.exists("image:url:a")
    await tier.maintenance.repair_if_needed()
    await keep(tier, "a")
    assert await tier.queue.due_at(A) is not None


@dataclass(frozen=True)
class HalfAway(OneServer):
    """Servers of four shards: the server of two shards does not answer."""

    away: GuardedRedis
    slots_away: Sequence[int]

    @property
    def all(self) -> Sequence[GuardedRedis]:
        return self.server, self.away

    def of(self, slot: int) -> GuardedRedis:
        return self.away if slot in self.slots_away else self.server


@pytest.fixture
async def half_away(redis_url: str, redis_client: "redis.Redis", clock: Clock) -> AsyncIterator[Tier]:
    """A tier of four shards, two of which are on a server that does not answer."""
    async with (
        open_redis(RedisSettings(url=SecretStr(redis_url), timeout=10, shards=4)) as answering,
        open_redis(RedisSettings(url=SecretStr("redis://127.0.0.1:1"))) as away,
    ):
        slots = [shard.slot for shard in answering.all[2:]]
        servers = HalfAway(answering.servers.all[0], away.servers.all[0], slots)
        yield make_tier(Shards(servers, "image:", 4), clock)
    redis_client.flushdb()


def ids_of(tier: Tier, *numbers: int) -> list[str]:
    """Return three images of each of the shards."""
    ids = [f"id-{number}" for number in range(100)]
    return [
        image_id
        for number in numbers
        for image_id in [x for x in ids if tier.shards.of(x) is tier.shards.all[number]][:3]
    ]


async def test_a_server_that_is_away_takes_its_images_with_it_alone(half_away: Tier) -> None:
    tier, here, gone = half_away, ids_of(half_away, 0, 1), ids_of(half_away, 2, 3)
    with pytest.raises(CacheUnavailable):
        await keep(tier, *here, *gone)
    found = await tier.cache.find([ImageVariant(image_id) for image_id in (*here, *gone)])
    assert {variant.image_id for variant, there in found.items() if there.image is not None} == set(here)
    assert len(found) == len(here)
    with pytest.raises(CacheUnavailable):
        await tier.cache.find([ImageVariant(image_id) for image_id in gone])
    tier.clock.now += 3000
    worker = refresh_worker_of(tier)
    with pytest.raises(CacheUnavailable):
        await worker.drain(tier.shards.all)
    assert worker.report.results["renewed"] == len(here)
    assert worker.report.last_run is None
    assert tier.metrics.registry.get_sample_value("image_gateway_refresh_queue_length") is None


async def test_uses_of_images_whose_server_is_away_wait_and_hold_up_no_others(half_away: Tier) -> None:
    tier, here, gone = half_away, ids_of(half_away, 0, 1), ids_of(half_away, 2, 3)
    counter = UsageCounter(tier.usage, now=tier.clock)
    for round_ in range(1, 4):
        for image_id in (*here, *gone):
            counter.accessed(image_id)
        await counter.flush()
        counts = [(await tier.usage_of(ImageVariant(image_id))).access_count for image_id in here]
        assert counts == [round_] * len(here)
    assert [(await counter.usage(ImageVariant(image_id))).access_count for image_id in gone] == [3] * len(gone)
    servers = tier.shards.servers
    assert isinstance(servers, HalfAway)
    tier.shards.servers = replace(servers, slots_away=())
    await counter.flush()
    assert [(await tier.usage_of(ImageVariant(image_id))).access_count for image_id in gone] == [3] * len(gone)
