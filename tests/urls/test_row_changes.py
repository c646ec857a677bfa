"""Reactions to changed rows: what is invalidated, and from when entries of Redis are trusted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from gateway.presign.lifetime import CLOCK_SKEW, UsableUrls
from gateway.redis_store.entry_trust import EntryTrust
from gateway.settings import UrlCacheSettings
from gateway.urls.invalidation import Invalidation
from gateway.urls.local_tier import LocalTier
from gateway.urls.resolver import UrlResolver
from gateway.urls.row_changes import RowChanges
from tests.tier import RENDITIONS, Tier

KEY = "image:url:a"


@pytest.fixture
async def resolver(tier: Tier) -> AsyncIterator[UrlResolver]:
    """A resolver without a memory of its own, whose image ``a`` is in Redis."""
    local = LocalTier(UrlCacheSettings(enabled=False), RENDITIONS, unknown_ttl=3)
    made = UrlResolver(tier.table, UsableUrls(tier.signer, tier.lifetime, tier.clock), tier.cache, local, tier.metrics)
    tier.table.add("a")
    await made.look_up("a")
    yield made
    await made.close()


async def reads_the_row(tier: Tier, resolver: UrlResolver) -> bool:
    """Return whether a look-up of ``a`` asks Postgres, because it trusts no entry of Redis."""
    before = len(tier.table.queries)
    await resolver.look_up("a")
    return len(tier.table.queries) > before


@pytest.fixture
def invalidation(tier: Tier) -> Invalidation:
    return Invalidation(tier.cache, None)


@pytest.fixture
def invalidated(invalidation: Invalidation) -> list[str | None]:
    """What a cache of this process was told to invalidate; None is every image."""
    told: list[str | None] = []
    invalidation.add(told.append)
    return told


async def test_entries_are_trusted_whose_rows_are_read_after_notifications_have_started(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, invalidated: list[str | None]
) -> None:
    assert not await reads_the_row(tier, resolver)
    changes = RowChanges(resolver, invalidation, tier.clock, None)
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, True], "no notifications arrive yet"
    tier.clock.now += 1
    changes.started()
    assert invalidated == [None]
    tier.clock.now += CLOCK_SKEW
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False]


async def test_changed_images_are_invalidated_here_and_in_redis(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, invalidated: list[str | None]
) -> None:
    changes = RowChanges(resolver, invalidation, tier.clock, None)
    changes.started()
    tier.clock.now += CLOCK_SKEW
    await resolver.look_up("a")
    assert not await reads_the_row(tier, resolver)
    await changes.changed(["a"])
    assert set(invalidated) == {None, "a"}
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False]


async def test_an_entry_from_before_a_change_that_redis_has_again_is_not_used(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, redis_client: "redis.Redis"
) -> None:
    """A replica that was behind has taken over, or Redis has loaded a snapshot."""
    changes = RowChanges(resolver, invalidation, tier.clock, None)
    changes.started()
    tier.clock.now += CLOCK_SKEW
    for _ in range(2):  # an entry without a tombstone, and an entry that replaced one
        await resolver.look_up("a")
        assert not await reads_the_row(tier, resolver)
        earlier: Any = redis_client.get(KEY)
        tier.clock.now += 1
        await changes.changed(["a"])
        redis_client.set(KEY, earlier, ex=60)
        assert await reads_the_row(tier, resolver)
        await changes.changed(["a"])


async def test_changes_of_many_rows_send_no_other_image_to_postgres(tier: Tier) -> None:
    """The oldest change is forgotten: it is the change whose loss by Redis is the least likely."""
    trust = EntryTrust(tier.shards, tier.lifetime, tier.clock, most_changed=2)
    tier.table.add("a", "b", "c", "d")
    now = int(tier.clock())
    images = {name: tier.signer.sign_image(tier.table.records[name], None, read_at=now) for name in "abcd"}
    tier.clock.now += 1
    for name in "abc":
        trust.changed(name)
    assert [trust.may_be_used(image) for image in images.values()] == [True, False, False, True]


@pytest.mark.parametrize("is_counted", [True, False])
async def test_after_too_many_changes_every_row_is_read_again_and_dropped_ones_are_counted(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, invalidated: list[str | None], *, is_counted: bool
) -> None:
    dropped: list[int] = []
    changes = RowChanges(resolver, invalidation, tier.clock, dropped.append if is_counted else None)
    tier.clock.now += 1
    changes.too_many(3)
    assert invalidated == [None]
    assert dropped == ([3] if is_counted else [])
    tier.clock.now += CLOCK_SKEW
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False]
