"""One URL signed again on demand, once for all callers, also across replicas and without Postgres."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import CatalogUnavailable, ImageNotFound
from gateway.presign.lifetime import UsableUrls
from gateway.presign.signed_image import ImageVariant
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.local_tier import LocalTier
from gateway.urls.on_demand_refresh import OnDemandRefresh
from gateway.urls.resolver import UrlResolver
from tests.tier import RENDITIONS, Tier, record


class Replica:
    """A gateway's memory, and renewal on demand, over the tier in Redis that all replicas share."""

    def __init__(self, tier: Tier) -> None:
        local = LocalTier(Live(UrlCacheSettings(max_size=10, local_ttl=30)), RENDITIONS, tier.log, unknown_ttl=3)
        self.resolver = UrlResolver(
            tier.table,
            UsableUrls(tier.signer, tier.lifetime, tier.clock),
            tier.cache,
            local,
            tier.trust,
            tier.metrics.urls,
        )
        self.refresh = OnDemandRefresh(self.resolver, tier.table, tier.cache, local, tier.metrics.urls, tier.clock)

    async def close(self) -> None:
        await self.refresh.close()
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
    new = await replica.refresh.refresh("a")
    assert new.presigned.signed_at == int(tier.clock.now)
    assert new.presigned.expires_at > old.presigned.expires_at
    cached = replica.resolver.get_cached("a")
    assert cached is not None
    assert cached.image == new
    assert (await tier.cache.find([ImageVariant("a")]))[ImageVariant("a")].image == new


async def test_a_renewal_on_demand_takes_the_variant_off_the_dead_list(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    await replica.resolver.look_up("a")
    for _ in range(3):
        given_up = await tier.queue.fail(ImageVariant("a"), "no such key", tier.clock())
    assert given_up
    assert (await tier.queue.state(tier.clock())).dead == 1
    tier.clock.now += 3300
    await replica.refresh.refresh("a")
    assert await tier.queue.dead() == []


async def test_simultaneous_renewals_are_one(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    replica, _ = replicas
    renewed = await asyncio.gather(*(replica.refresh.refresh("a") for _ in range(10)))
    assert {image.presigned.url for image in renewed} == {renewed[0].presigned.url}
    assert tier.table.queries == [["a"]]


async def test_a_renewal_that_read_the_row_before_a_change_is_not_shared_after_it(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    before = asyncio.create_task(replica.refresh.refresh("a"), name="before")
    while not tier.table.queries:
        await asyncio.sleep(0)
    tier.table.records["a"] = record("a", "new.png")
    replica.refresh.drop("a")
    assert (await replica.refresh.refresh("a")).record.key == "new.png"
    assert (await before).record.key == "a.png"


async def test_a_url_that_another_replica_has_renewed_is_used(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    first, other = replicas
    refused = (await first.resolver.look_up("a")).image
    tier.clock.now += 100
    renewed = await first.refresh.refresh("a", refused=refused)
    tier.clock.now += 10
    queries = len(tier.table.queries)
    assert await other.refresh.refresh("a", refused=refused) == renewed
    assert len(tier.table.queries) == queries
    assert await other.refresh.refresh("a", refused=renewed) != renewed, "that one was refused, too"


async def test_users_of_two_replicas_who_ask_within_a_second_share_a_renewal(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    first, other = replicas
    await first.resolver.look_up("a")
    tier.clock.now += 100
    renewed = await first.refresh.refresh("a")
    assert await other.refresh.refresh("a") == renewed
    tier.clock.now += 10
    assert (await other.refresh.refresh("a")).presigned.signed_at == int(tier.clock.now)


async def test_without_postgres_a_refused_url_is_signed_anew_for_the_row_that_is_known(
    tier: Tier, replicas: tuple[Replica, Replica]
) -> None:
    replica, _ = replicas
    refused = (await replica.resolver.look_up("a")).image
    tier.table.is_away = True
    tier.clock.now += 100
    renewed = await replica.refresh.refresh("a", refused=refused)
    assert renewed.presigned.signed_at == int(tier.clock.now)
    assert (renewed.record, renewed.read_at) == (refused.record, refused.read_at)
    tier.clock.now += 100
    with pytest.raises(CatalogUnavailable):
        await replica.refresh.refresh("a")


async def test_an_image_whose_row_is_gone_is_not_renewed(tier: Tier, replicas: tuple[Replica, Replica]) -> None:
    replica, _ = replicas
    refused = (await replica.resolver.look_up("a")).image
    tier.table.records.clear()
    with pytest.raises(ImageNotFound):
        await replica.refresh.refresh("a", refused=refused)
    with pytest.raises(ImageNotFound):
        replica.resolver.get_cached("a")
