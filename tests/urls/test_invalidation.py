"""What is done about a change: here, in Redis, on other replicas; and from when entries of Redis are trusted again."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis

from gateway.catalog.record import Rows
from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.changes.heartbeat import LEASE
from gateway.errors import CatalogUnavailable, ImageNotFound
from gateway.urls.invalidation import Invalidation
from gateway.urls.resolver import UrlResolver
from tests.tier import Table, Tier, record

KEY = "image:url:a"


@pytest.fixture
def log(tier: Tier) -> ChangeLog:
    return ChangeLog([Source.ROWS], "me", tier.clock())


@pytest.fixture
async def resolver(tier: Tier, log: ChangeLog) -> AsyncIterator[UrlResolver]:
    """A resolver without a memory of its own, whose image ``a`` is in Redis."""
    made = tier.resolver(log=log, steady=tier.clock, enabled=False)
    log.add_cache(made)
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
def invalidation(tier: Tier, log: ChangeLog) -> Invalidation:
    return Invalidation(log, tier.clock, EntryTrust(log), tier.cache, None, None)


def pass_time(tier: Tier, invalidation: Invalidation, seconds: float) -> None:
    """Let time pass, and hear a heartbeat."""
    tier.clock.now += seconds
    invalidation.log.heartbeat(Source.ROWS, invalidation.log.heartbeats[Source.ROWS].send(tier.clock()))


def hear(tier: Tier, invalidation: Invalidation) -> None:
    """Listen until rows that are read now are trusted."""
    invalidation.log.listens(Source.ROWS, tier.clock())
    pass_time(tier, invalidation, LEASE + 1)


async def test_entries_are_trusted_whose_rows_are_read_after_changes_are_heard(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation
) -> None:
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, True], "no changes are heard yet"
    hear(tier, invalidation)
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False]
    invalidation.too_many_rows(3)
    pass_time(tier, invalidation, LEASE)
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False], "some changes were never heard"
    invalidation.log.lost(Source.ROWS)
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, True]


async def test_changed_images_are_invalidated_here_and_in_redis(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, log: ChangeLog
) -> None:
    hear(tier, invalidation)
    await resolver.look_up("a")
    assert not await reads_the_row(tier, resolver)
    before = log.number
    await invalidation.rows_changed(["a"])
    assert log.changed_since("a", before)
    pass_time(tier, invalidation, LEASE)
    assert [await reads_the_row(tier, resolver) for _ in range(2)] == [True, False]


async def test_an_entry_from_before_a_change_that_redis_has_again_is_not_used(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, redis_client: "redis.Redis"
) -> None:
    """A replica that was behind has taken over, or Redis has loaded a snapshot."""
    hear(tier, invalidation)
    for _ in range(2):  # an entry without a tombstone, and an entry that replaced one
        await resolver.look_up("a")
        assert not await reads_the_row(tier, resolver)
        earlier: Any = redis_client.get(KEY)
        pass_time(tier, invalidation, 1)
        await invalidation.rows_changed(["a"])
        redis_client.set(KEY, earlier, ex=60)
        assert await reads_the_row(tier, resolver)
        await invalidation.rows_changed(["a"])
        pass_time(tier, invalidation, LEASE)


async def test_a_changed_image_is_not_served_by_its_earlier_row_while_no_row_can_be_read(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation, redis_client: "redis.Redis"
) -> None:
    """Redis has refused to drop the entry, and Postgres does not answer."""
    tier.table.add("b")
    await resolver.look_up("b")
    hear(tier, invalidation)
    earlier: Any = redis_client.get(KEY)
    await invalidation.rows_changed(["a"])
    redis_client.set(KEY, earlier, ex=60)
    tier.table.is_away = True
    for _ in range(2):
        with pytest.raises(CatalogUnavailable):
            await resolver.look_up("a")
        assert (await resolver.look_up("b")).from_cache
    tier.table.is_away = False
    assert await reads_the_row(tier, resolver)


async def test_during_an_outage_of_postgres_one_look_up_asks_and_others_get_what_is_cached(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation
) -> None:
    tier.table.is_away = True
    await resolver.look_up("a")
    asked = len(tier.table.queries)
    for _ in range(10):
        assert (await resolver.look_up("a")).from_cache
    assert len(tier.table.queries) == asked
    with pytest.raises(CatalogUnavailable):
        await resolver.look_up("b")
    assert len(tier.table.queries) == asked + 1, "there is nothing else to answer with"


async def test_after_an_outage_the_first_look_up_that_needs_a_row_reads_it(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation
) -> None:
    """A look-up that finds all in Redis asks for nothing, so others must not wait for its answer."""
    hear(tier, invalidation)
    tier.table.add("b")
    await resolver.look_up("b")
    tier.table.is_away = True
    assert (await resolver.look_up("a")).from_cache
    tier.table.is_away = False
    pass_time(tier, invalidation, 1)
    await resolver.look_up("b")
    assert await reads_the_row(tier, resolver)


async def test_when_listening_begins_rows_are_read_again_whatever_failed_before(
    tier: Tier, resolver: UrlResolver, invalidation: Invalidation
) -> None:
    tier.table.is_away = True
    assert (await resolver.look_up("a")).from_cache
    tier.table.is_away = False
    invalidation.log.listens(Source.ROWS, tier.clock())
    assert await reads_the_row(tier, resolver)


async def test_a_row_that_could_not_be_read_is_asked_for_again_after_a_second(tier: Tier, log: ChangeLog) -> None:
    resolver = tier.resolver(log=log, steady=tier.clock)
    tier.table.add("a")
    await resolver.look_up("a")
    tier.table.is_away = True
    await resolver.look_up("a")
    assert resolver.get_cached("a") is not None
    tier.clock.now += 1
    assert resolver.get_cached("a") is None
    await resolver.close()


async def test_an_image_that_was_missing_here_is_not_served_from_redis_while_no_row_can_be_read(
    tier: Tier, log: ChangeLog, invalidation: Invalidation
) -> None:
    """It was deleted while nobody listened, so that nobody has dropped it from Redis."""
    resolver = tier.resolver(log=log, steady=tier.clock)
    hear(tier, invalidation)
    tier.table.records.clear()
    with pytest.raises(ImageNotFound):
        await resolver.look_up("a")
    tier.clock.now += 60
    tier.table.is_away = True
    with pytest.raises(CatalogUnavailable):
        await resolver.look_up("a")
    await resolver.close()


async def test_rows_that_took_longer_than_a_lease_are_read_again(
    tier: Tier, resolver: UrlResolver, log: ChangeLog
) -> None:
    """The process was paused while it read: the requests that came meanwhile share the look-up."""

    class Paused(Table):
        async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
            rows = await super().fetch_rows(image_ids)
            if len(self.queries) == 1:
                tier.clock.now += LEASE
                self.records["a"] = record("a", "after-the-pause.png")
            return rows

    table = Paused(dict(tier.table.records))
    paused = tier.resolver(log=log, catalog=table, steady=tier.clock, enabled=False)
    assert (await paused.look_up("a")).image.record.key == "after-the-pause.png"
    await paused.close()
