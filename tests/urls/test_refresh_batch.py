"""Renewals in batches, and the task that drains the queue."""

from collections import Counter
from dataclasses import replace

import pytest
import redis
from pydantic import SecretStr

from gateway.errors import NoCredentials
from gateway.presign.credentials import Credentials
from gateway.presign.signer import SignedImage
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.redis_connection.client import open_redis
from gateway.redis_entries.url_entries import Made
from gateway.redis_entries.usage_store import Usage
from gateway.settings import Live, RedisSettings, StyleSettings, UrlPrerefreshSettings
from gateway.urls.refresh_batch import RefreshBatch
from gateway.urls.refresh_worker import RefreshWorker
from tests.signed_images import signed_image
from tests.tier import Clock, Tier, also_in_a_cluster, make_tier, signer_of

A = ImageVariant("a")


class InvalidatedIds(list[str]):
    """The ids that a refresh batch invalidated."""

    async def add(self, image_ids: object) -> None:
        self.extend(image_ids)  # type: ignore[arg-type]


def refresh_batch_of(
    tier: Tier, invalidated: InvalidatedIds | None = None, *, idle_after: float = 86_400
) -> RefreshBatch:
    settings = UrlPrerefreshSettings(idle_after=int(idle_after))
    forget = (invalidated if invalidated is not None else InvalidatedIds()).add
    return RefreshBatch(tier.cache, tier.usage, tier.queue, tier.table, tier.urls, Live(settings), forget)


def refresh_worker_of(
    tier: Tier,
    *,
    batch_size: int = 100,
    interval: float = 0.05,
    invalidated: InvalidatedIds | None = None,
    idle_after: float = 86_400,
) -> RefreshWorker:
    return RefreshWorker(
        tier.shards,
        tier.queue,
        refresh_batch_of(tier, invalidated, idle_after=idle_after),
        tier.metrics.urls,
        Live(UrlPrerefreshSettings(interval=interval, batch_size=batch_size)),
        now=tier.clock,
    )


async def drained(tier: Tier) -> "Counter[str]":
    """Renew what is due, and return the results."""
    worker = refresh_worker_of(tier)
    await worker.drain(tier.shards.all)
    return worker.report.results


async def keep(tier: Tier, *image_ids: str, style: str | None = None) -> None:
    """Look the images up, as requests do."""
    tier.table.add(*image_ids)
    now = int(tier.clock())
    made = [tier.table.records[image_id] for image_id in image_ids]
    await tier.cache.keep([Made(tier.signer.sign_image(row, style, read_at=now)) for row in made])


async def cached(tier: Tier, variant: ImageVariant = A) -> SignedImage | None:
    return (await tier.cache.find([variant]))[variant].image


@also_in_a_cluster
async def test_a_url_is_renewed_before_it_expires(tier: Tier) -> None:
    await keep(tier, "a")
    first = await cached(tier)
    assert first is not None
    assert await drained(tier) == Counter()
    tier.clock.now = first.presigned.expires_at - 900
    assert await drained(tier) == Counter(renewed=1)
    second = await cached(tier)
    assert second is not None
    assert second.presigned.expires_at > first.presigned.expires_at + 2000
    due = await tier.queue.due_at(A)
    assert due is not None
    assert tier.clock.now < due <= second.presigned.expires_at - 900


async def test_due_times_are_spread_and_the_hot_go_first(tier: Tier) -> None:
    cold = [f"cold-{number}" for number in range(50)]
    await keep(tier, "hot", *cold)
    await tier.count({ImageVariant("hot"): Usage(access_count=100_000, last_access=tier.clock())})
    tier.clock.now += 3000
    await drained(tier)
    claims = await tier.queue.first(51)
    found = await tier.cache.find([claim.item for claim in claims])
    # Signing times are rounded for each key, so what counts is how long before its end a URL is due.
    leads: dict[str, float] = {}
    for claim in claims:
        image = found[claim.item].image
        assert image is not None
        leads[claim.item.image_id] = image.presigned.expires_at - claim.due_at
    hot = leads.pop("hot")
    assert hot >= max(leads.values())
    assert min(leads.values()) >= 3600 // 4
    assert max(leads.values()) - min(leads.values()) > 200


async def test_an_unused_entry_is_not_renewed(tier: Tier, redis_client: "redis.Redis") -> None:
    await keep(tier, "a", "b")
    for _ in range(40):  # renewed for a day after one request
        tier.clock.now += 2400
        await tier.count({ImageVariant("b"): Usage(access_count=1, last_access=tier.clock())})
        results = await drained(tier)
        if results["idle"]:
            break
    assert results["idle"] == 1
    assert await tier.queue.due_at(A) is None
    assert await tier.queue.due_at(ImageVariant("b")) is not None


@also_in_a_cluster
async def test_a_url_renewed_by_another_worker_is_not_renewed_again(tier: Tier) -> None:
    """SIGKILL between writing the URLs and the ack: the next to claim finds them fresh."""
    await keep(tier, "a", "b")
    tier.clock.now += 3000
    dead_worker = await tier.queue.claim(tier.clock(), 10)
    assert len(dead_worker) == 2
    made = tier.table.records["a"]
    image = signed_image(made, tier.signer.sign(made, fresh=True), None, int(tier.clock()))
    await tier.cache.keep([Made(image)])
    await tier.queue.schedule({A: tier.clock() + 60})  # as the lease left it
    tier.clock.now += 61
    tier.table.queries.clear()
    assert await drained(tier) == Counter(fresh=1, renewed=1)
    assert tier.table.queries == [["b"]]


@also_in_a_cluster
async def test_a_deleted_image_is_invalidated_everywhere(tier: Tier) -> None:
    await keep(tier, "a")
    tier.table.records.clear()
    tier.clock.now += 3000
    invalidated = InvalidatedIds()
    worker = refresh_worker_of(tier, invalidated=invalidated)
    await worker.drain(tier.shards.all)
    assert worker.report.results == Counter(gone=1)
    assert invalidated == ["a"]


@also_in_a_cluster
async def test_i6_an_image_dropped_during_its_renewal_is_not_written_again(tier: Tier) -> None:
    await keep(tier, "a")
    tier.clock.now += 3000
    claims = await tier.queue.claim(tier.clock(), 10)
    fetch_rows = tier.table.fetch_rows

    async def dropped_meanwhile(image_ids: list[str]) -> object:
        rows = await fetch_rows(image_ids)
        await tier.cache.drop(["a"])
        return rows

    tier.table.fetch_rows = dropped_meanwhile  # type: ignore[method-assign, assignment]
    await refresh_batch_of(tier).refresh(claims)
    assert await cached(tier) is None
    assert await tier.queue.due_at(A) is None


@also_in_a_cluster
async def test_an_unusable_row_is_given_up_and_logged(tier: Tier, caplog: pytest.LogCaptureFixture) -> None:
    await keep(tier, "a", "b")
    del tier.table.records["a"]
    tier.table.unusable["a"] = "the key names the bucket, not an object"
    total: Counter[str] = Counter()
    for _ in range(4):
        tier.clock.now += 3000
        await tier.count({ImageVariant(name): Usage(last_access=tier.clock()) for name in "ab"})
        total += await drained(tier)
    assert (total["failed"], total["dead"], total["renewed"]) == (2, 1, 4)
    [entry] = await tier.queue.dead()
    assert entry.reason == "the key names the bucket, not an object"
    assert "renewal given up: image_id=a" in caplog.text
    assert tier.metrics.registry.get_sample_value("image_gateway_refresh_dead") == 1


@also_in_a_cluster
async def test_an_id_that_makes_the_query_fail_delays_no_other(tier: Tier) -> None:
    ids = [f"id-{number}" for number in range(20)]
    await keep(tier, *ids)
    tier.table.chokes_on = {"id-7"}
    tier.clock.now += 3000
    assert await drained(tier) == Counter(renewed=19, failed=1)


@also_in_a_cluster
async def test_an_outage_of_postgres_counts_as_no_attempt(tier: Tier) -> None:
    await keep(tier, "a")
    tier.table.is_away = True
    tier.clock.now += 3000
    for _ in range(10):
        assert await drained(tier) == Counter(postponed=1)
        tier.clock.now += 5
    tier.table.is_away = False
    assert await drained(tier) == Counter(renewed=1)
    assert await tier.queue.dead() == []


async def test_a_removed_style_is_not_renewed(tier: Tier) -> None:
    await tier.queue.schedule({ImageVariant("a", "gone"): tier.clock()})
    await tier.count({ImageVariant("a", "gone"): Usage(last_access=tier.clock())})
    assert await drained(tier) == Counter(idle=1)


async def test_of_all_variants_only_those_in_use_are_queued_and_renewed(
    redis_url: str, redis_client: "redis.Redis", clock: Clock
) -> None:
    """10,000 rows in 6 widths and 3 formats: 180,000 variants are possible, 600 requested, 60 of them every hour."""
    del redis_client  # it has emptied Redis
    renditions = Live(Renditions({"card": StyleSettings(formats=("avif", "webp"))}))
    names = renditions.value.names
    assert len(names) == 18
    async with open_redis(RedisSettings(url=SecretStr(redis_url), timeout=10)) as shards:
        tier = make_tier(shards, clock, max_size=200_000, renditions=renditions)
        tier.table.add(*(f"p{number}" for number in range(10_000)))
        asked = [ImageVariant(f"p{number}", names[number % 18]) for number in range(600)]
        now = int(clock())
        made = [
            tier.signer.sign_image(tier.table.records[variant.image_id], variant.rendition, read_at=now)
            for variant in asked
        ]
        for start in range(0, len(made), 100):
            await tier.cache.keep([Made(image) for image in made[start : start + 100]])
        assert (await tier.queue.state(clock())).queued == 600
        worker = refresh_worker_of(tier, idle_after=4 * 3600)
        for _ in range(6):
            in_use = {variant: Usage(access_count=1, last_access=clock()) for variant in asked[:60]}
            await tier.count(in_use)
            clock.now += 3600 - 901
            worker.report.results.clear()
            await worker.drain(tier.shards.all)
            clock.now += 901
        assert (await tier.queue.state(clock())).queued == 60
        assert set(worker.report.results) <= {"renewed"}
        assert len(tier.table.records) == 10_000


async def test_renewals_wait_for_credentials_and_count_no_failure(tier: Tier) -> None:
    """Of one bucket of two: the URLs of the other are renewed."""
    await keep(tier, "a", "b")
    tier.table.records["b"] = replace(tier.table.records["b"], bucket="other-1250000000")

    def credentials_of(bucket: str) -> Credentials:
        """Return credentials for the default bucket alone."""
        if bucket != "b-1250000000":
            raise NoCredentials
        return Credentials("x", "y")

    tier.clock.now += 3000
    waiting = replace(tier, signer=signer_of(credentials_of, tier.metrics, tier.clock))
    assert await drained(waiting) == Counter(renewed=1, postponed=1)
    due = await tier.queue.due_at(ImageVariant("b"))
    assert due is not None
    assert tier.clock() < due <= tier.clock() + 5
