"""One URL signed again on demand, once for all callers, also across replicas and without Postgres; COS's clock."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.errors import CatalogUnavailable, ImageNotFound
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import CheckedSigner, CosClock
from gateway.urls.on_demand_refresh import OnDemandRefresh
from tests.tier import NOW, Tier, record

A = ImageVariant("a")
AHEAD = NOW + 600  # the time of COS, by which this machine's clock is slow


class Replica:
    """A gateway's memory, and renewal on demand, over the tier in Redis that all replicas share."""

    def __init__(self, tier: Tier) -> None:
        self.cos_clock = CosClock(tier.clock)
        self.resolver = tier.resolver(urls=CheckedSigner(tier.signer, tier.lifetime, self.cos_clock.now))
        self.cos_clock.moved = self.resolver.reread_all
        self.on_demand = OnDemandRefresh(self.resolver, self.cos_clock)

    async def close(self) -> None:
        await self.on_demand.close()
        await self.resolver.close()


@pytest.fixture
async def replicas(tier: Tier) -> AsyncIterator[tuple[Replica, Replica]]:
    tier.table.add("a")
    both = Replica(tier), Replica(tier)
    yield both
    for replica in both:
        await replica.close()


async def test_a_renewal_signs_now_and_takes_the_place_of_the_cached_url(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    old = (await replica.resolver.look_up("a")).image
    tier.clock.now += 100
    new = await replica.on_demand.refresh("a")
    assert new.presigned.signed_at == int(tier.clock.now)
    assert new.presigned.expires_at > old.presigned.expires_at
    cached = replica.resolver.get_cached("a")
    assert cached is not None
    assert cached.image == new
    assert (await tier.cache.find([A]))[A].image == new


async def test_simultaneous_renewals_are_one(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    replica, _ = replicas
    renewed = await asyncio.gather(*(replica.on_demand.refresh("a") for _ in range(10)))
    assert {image.presigned.url for image in renewed} == {renewed[0].presigned.url}
    assert tier.table.queries == [["a"]]


async def test_a_renewal_that_read_the_row_before_a_change_is_not_shared_after_it(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    before = asyncio.create_task(replica.on_demand.refresh("a"), name="before")
    while not tier.table.queries:
        await asyncio.sleep(0)
    tier.table.records["a"] = record("a", "new.png")
    replica.on_demand.drop("a")
    assert (await replica.on_demand.refresh("a")).record.key == "new.png"
    assert (await before).record.key == "a.png"


async def test_a_url_that_another_replica_has_renewed_is_used(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    first, other = replicas
    refused = (await first.resolver.look_up("a")).image
    tier.clock.now += 100
    renewed = await first.on_demand.refresh_refused(refused, None)
    tier.clock.now += 10
    queries = len(tier.table.queries)
    assert await other.on_demand.refresh_refused(refused, None) == renewed
    assert len(tier.table.queries) == queries
    assert await other.on_demand.refresh_refused(renewed, None) != renewed, "that one was refused, too"


async def test_users_of_two_replicas_who_ask_within_a_second_share_a_renewal(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    first, other = replicas
    await first.resolver.look_up("a")
    tier.clock.now += 100
    renewed = await first.on_demand.refresh("a")
    assert await other.on_demand.refresh("a") == renewed
    tier.clock.now += 10
    assert (await other.on_demand.refresh("a")).presigned.signed_at == int(tier.clock.now)


async def test_without_postgres_a_refused_url_is_signed_anew_for_the_row_that_is_known(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    refused = (await replica.resolver.look_up("a")).image
    tier.table.is_away = True
    tier.clock.now += 100
    renewed = await replica.on_demand.refresh_refused(refused, None)
    assert renewed.presigned.signed_at == int(tier.clock.now)
    assert (renewed.record, renewed.read_at, renewed.unread) == (refused.record, refused.read_at, True)
    assert (await tier.cache.find([A]))[A].image == replace(renewed, unread=False), "Redis has had the same row"
    tier.clock.now += 100
    with pytest.raises(CatalogUnavailable):
        await replica.on_demand.refresh("a")


async def test_a_row_that_could_not_be_read_again_replaces_neither_a_tombstone_nor_a_later_row_in_redis(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, other = replicas
    refused = (await replica.resolver.look_up("a")).image
    await tier.cache.drop(["a"])
    tier.table.is_away = True
    await replica.on_demand.refresh_refused(refused, None)
    assert (await tier.cache.find([A]))[A].image is None
    tier.table.is_away = False
    tier.table.records["a"] = record("a", "new.png")
    later = (await other.resolver.look_up("a")).image
    tier.table.is_away = True
    tier.clock.now += 100
    await replica.on_demand.refresh_refused(refused, None)
    assert (await tier.cache.find([A]))[A].image == later


async def test_an_image_whose_row_is_gone_is_not_renewed(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    replica, _ = replicas
    refused = (await replica.resolver.look_up("a")).image
    tier.table.records.clear()
    with pytest.raises(ImageNotFound):
        await replica.on_demand.refresh_refused(refused, None)
    with pytest.raises(ImageNotFound):
        replica.resolver.get_cached("a")


async def test_a_refusal_for_the_time_sets_the_clock_and_has_rows_of_the_old_clock_read_again(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, other = replicas
    refused = (await replica.resolver.look_up("a")).image
    assert replica.cos_clock.refused_at(AHEAD)
    assert replica.cos_clock.now() == AHEAD
    await replica.resolver.look_up("a")
    assert tier.table.queries == [["a"], ["a"]]
    await other.on_demand.refresh_refused(refused, AHEAD)
    assert other.cos_clock.now() == AHEAD


@pytest.mark.parametrize("cos_time", [None, NOW + 1.0])
async def test_another_refusal_moves_no_clock_and_keeps_what_is_cached(
    tier: Tier, replicas: tuple[Replica, Replica], cos_time: float | None
) -> None:
    replica, _ = replicas
    await replica.resolver.look_up("a")
    assert not replica.cos_clock.refused_at(cos_time)
    assert replica.cos_clock.now() == NOW
    await replica.resolver.look_up("a")
    assert tier.table.queries == [["a"]]
