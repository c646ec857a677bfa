"""What is done about a change: here, in Redis, on other replicas; and from when entries of Redis are trusted again."""

from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.catalog.record import Rows
from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.entry_trust import EntryTrust
from gateway.changes.heartbeat import LEASE
from gateway.errors import CatalogUnavailable
from gateway.urls.invalidation import Invalidation
from gateway.urls.resolver import UrlResolver
from tests.tier import Table, Tier, record


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
