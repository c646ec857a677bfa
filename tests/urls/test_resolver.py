"""Misses that arrive together: one read of Redis, one query and one write, and nothing shared but the work."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import redis

from gateway.catalog.record import ImageRecord, Rows, RowsUnreadable
from gateway.changes.change_log import Source
from gateway.concurrency.clocks import boot_time
from gateway.errors import CatalogUnavailable, CredentialsExpired, ImageNotFound
from gateway.presign.credentials import Credentials
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import CheckedSigner
from gateway.redis_entries.url_entries import EntryCodec, EntryMac
from gateway.settings import Live
from gateway.urls.new_variants import NewVariant
from gateway.urls.resolver import Resolved, UrlResolver
from tests.tier import RENDITIONS, Tier, record, signer_of

IDS = [f"id-{number}" for number in range(100)]


class SlowTable:
    """The tier's table, whose answers wait for ``released`` once it is cleared."""

    def __init__(self, tier: Tier) -> None:
        self._table = tier.table
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        rows = await self._table.fetch_rows(image_ids)
        self.asked.set()
        await self.released.wait()
        return rows

    async def try_query(self) -> None:
        await self._table.try_query()


@pytest.fixture
def table(tier: Tier) -> SlowTable:
    return SlowTable(tier)


@pytest.fixture
async def resolver(tier: Tier, table: SlowTable) -> AsyncIterator[UrlResolver]:
    made = tier.resolver(catalog=table, max_size=1000)
    tier.log.add_cache(made)
    yield made
    await made.close()


@pytest.fixture
async def other(tier: Tier) -> AsyncIterator[UrlResolver]:
    """Another replica, with a memory of its own and the same Redis."""
    made = tier.resolver()
    yield made
    await made.close()


async def test_misses_are_one_read_one_query_and_one_write_alone_and_together(
    tier: Tier, resolver: UrlResolver
) -> None:
    async def commands() -> dict[str, int]:
        """Return how many commands Redis got from clients since the last call; not those of scripts."""
        stats = await tier.server.client.info("commandstats")
        await tier.server.client.config_resetstat()
        return {name: int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("mget", "eval", "evalsha")}

    await tier.server.ping()  # the connection's own commands
    await commands()
    tier.table.add("a", *IDS)
    assert not (await resolver.look_up("a")).from_cache
    assert tier.table.queries == [["a"]]
    assert await commands() == {"mget": 1, "eval": 1, "evalsha": 0}
    assert await tier.queue.due_at(ImageVariant("a")) is not None, "kept and queued by the same command"
    images = await asyncio.gather(*(resolver.look_up(image_id) for image_id in IDS))
    assert [found.image.record.image_id for found in images] == IDS
    assert [sorted(query) for query in tier.table.queries] == [["a"], sorted(IDS)]
    counted = await commands()
    assert counted["mget"] == 1
    assert counted["eval"] + counted["evalsha"] <= len(IDS) / 10  # in pieces, so that none blocks for long
    entries = await tier.cache.find([ImageVariant(image_id) for image_id in IDS])
    assert all(entry.image is not None for entry in entries.values())


async def test_misses_during_a_query_share_the_next_one(tier: Tier, resolver: UrlResolver, table: SlowTable) -> None:
    tier.table.add(*IDS)
    table.released.clear()
    first = asyncio.create_task(resolver.look_up("id-0"))
    await table.asked.wait()
    others = [asyncio.create_task(resolver.look_up(image_id)) for image_id in IDS[1:]]
    batch = asyncio.create_task(resolver.resolve_many(IDS))  # joins all of them
    await asyncio.sleep(0)
    table.released.set()
    await asyncio.gather(first, *others)
    assert (await batch).keys() == set(IDS)
    assert [len(query) for query in tier.table.queries] == [1, 99]


async def test_a_url_that_was_signed_while_the_clock_ran_ahead_is_not_given_out_once_it_is_right(
    tier: Tier, resolver: UrlResolver
) -> None:
    tier.table.add("a")
    tier.clock.now += 3600
    ahead = (await resolver.look_up("a")).image.presigned
    assert resolver.get_cached("a") is not None
    tier.clock.now -= 3600
    assert resolver.get_cached("a") is None, "COS refuses it for an hour"
    signed = (await resolver.look_up("a")).image.presigned
    assert signed.signed_at <= tier.clock() < ahead.signed_at
    assert (await resolver.peek("a")).presigned == signed
    cached = (await resolver.resolve_many(["a"]))["a"]
    assert isinstance(cached, Resolved)
    assert (cached.from_cache, cached.image.presigned) == (True, signed)


async def test_an_unknown_id_and_an_error_leave_the_others_alone(tier: Tier, resolver: UrlResolver) -> None:
    tier.table.add("a", "b")
    results = await asyncio.gather(*map(resolver.look_up, ["a", "unknown", "b"]), return_exceptions=True)
    assert [type(result) for result in results] == [Resolved, ImageNotFound, Resolved]
    with pytest.raises(ImageNotFound):
        resolver.get_cached("unknown")
    assert len(tier.table.queries) == 1


async def test_an_image_that_cannot_be_signed_leaves_the_others_alone(tier: Tier, table: SlowTable) -> None:
    """The bucket of one has no credentials, and that of another fails as no one foresaw."""

    def credentials_of(bucket: str) -> Credentials:
        match bucket:
            case "expired-1250000000":
                raise CredentialsExpired("over")
            case "broken-1250000000":
                raise RuntimeError("a bug")
        return Credentials("x", "y")

    urls = CheckedSigner(signer_of(credentials_of, tier.metrics, tier.clock), tier.lifetime, tier.clock)
    resolver = tier.resolver(catalog=table, urls=urls, in_redis=False)
    for image_id, bucket in {"a": "b", "c": "expired", "d": "broken"}.items():
        tier.table.records[image_id] = record(image_id, bucket=f"{bucket}-1250000000")
    results = await asyncio.gather(*map(resolver.look_up, "acd"), return_exceptions=True)
    assert [type(result) for result in results] == [Resolved, CredentialsExpired, RuntimeError]
    assert len(tier.table.queries) == 1, "they share a query, also without Redis"
    assert {image_id: type(result) for image_id, result in (await resolver.resolve_many("ac")).items()} == {
        "a": Resolved,
        "c": CredentialsExpired,
    }
    with pytest.raises(RuntimeError):
        await resolver.resolve_many("ad")


async def test_a_new_variant_that_must_be_admitted_leaves_the_others_alone(tier: Tier, resolver: UrlResolver) -> None:
    tier.table.add("a")
    name = next(name for name in RENDITIONS.value.names if name is not None)
    checked, original, admitted = await asyncio.gather(
        resolver.look_up_cached("a", name), resolver.look_up("a"), resolver.look_up("a", name)
    )
    assert isinstance(checked, NewVariant)
    assert (original.image.rendition, admitted.image.rendition) == (None, name)
    assert tier.table.queries == [["a"]]


async def test_postgres_away_is_each_ones_error_and_serves_what_is_stale(tier: Tier, resolver: UrlResolver) -> None:
    tier.table.add("a", "b")
    await resolver.look_up("a")
    tier.log.missed(Source.ROWS, boot_time())
    tier.table.is_away = True
    stale, failed = await asyncio.gather(resolver.look_up("a"), resolver.look_up("b"), return_exceptions=True)
    assert isinstance(stale, Resolved)
    assert stale.from_cache
    assert isinstance(failed, CatalogUnavailable)


async def test_a_row_that_cannot_be_read_lets_no_withdrawn_image_be_served_stale(
    tier: Tier, resolver: UrlResolver
) -> None:
    tier.table.add("a", "b", "c")
    await resolver.resolve_many("ab")
    tier.log.missed(Source.ROWS, boot_time())
    tier.table.chokes_on = {"c"}
    del tier.table.records["a"], tier.table.records["b"]
    results = await asyncio.gather(*map(resolver.look_up, "ac"), return_exceptions=True)
    assert [type(result) for result in results] == [ImageNotFound, RowsUnreadable]
    with pytest.raises(RowsUnreadable):
        await resolver.look_up("c")
    with pytest.raises(ImageNotFound):
        await resolver.look_up("b")


async def test_a_renewed_url_of_redis_is_served_when_that_in_memory_has_ended_and_postgres_is_away(
    tier: Tier, resolver: UrlResolver, other: UrlResolver
) -> None:
    tier.table.add("a")
    await resolver.look_up("a")
    tier.clock.now += 3600
    renewed = (await other.look_up("a")).image
    tier.log.missed(Source.ROWS, boot_time())
    tier.table.is_away = True
    assert (await resolver.look_up("a")).image.presigned == renewed.presigned


async def test_an_entry_of_another_configuration_stays_for_gateways_of_that_one_until_a_row_is_read(
    tier: Tier,
) -> None:
    """As in a rolling change, while Postgres does not answer."""
    tier.table.add("a")
    codec = EntryCodec(EntryMac(Live(("another secret", None))), tier.signer)
    old, new = (each.resolver(enabled=False) for each in (tier, replace(tier, cache=replace(tier.cache, codec=codec))))
    await old.look_up("a")
    tier.table.is_away = True
    with pytest.raises(CatalogUnavailable):
        await new.look_up("a")
    assert (await old.look_up("a")).from_cache
    tier.table.is_away = False
    assert [(await new.look_up("a")).from_cache for _ in range(2)] == [False, True]
    for resolver in (old, new):
        await resolver.close()


async def test_a_caller_that_leaves_takes_nobody_along(tier: Tier, resolver: UrlResolver, table: SlowTable) -> None:
    tier.table.add("a", "b")
    table.released.clear()
    leaver, same, other = (asyncio.create_task(resolver.look_up(image_id)) for image_id in "aab")
    await table.asked.wait()
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    table.released.set()
    assert [found.image.record.image_id for found in await asyncio.gather(same, other)] == ["a", "b"]


async def test_a_change_in_the_middle_of_a_group_drops_its_image_alone(
    tier: Tier, resolver: UrlResolver, table: SlowTable, redis_client: "redis.Redis"
) -> None:
    """I6: a row read before the change answers only requests from before it, and is not cached."""
    tier.table.add("a", "b")
    table.released.clear()
    group = asyncio.gather(*map(resolver.look_up, "ab"))
    await table.asked.wait()
    tier.table.records["a"] = ImageRecord("a", "eve", False, "b-1250000000", "ap-guangzhou", "moved", None)
    tier.log.image_changed("a", boot_time())
    await tier.cache.drop(["a"])
    later = asyncio.create_task(resolver.look_up("a"))
    table.asked.clear()
    await asyncio.sleep(0)
    table.released.set()
    before, _ = await group
    assert before.image.record.key != "moved"
    assert (await later).image.record.key == "moved"
    for image_id, key in {"a": "moved", "b": tier.table.records["b"].key}.items():
        cached = resolver.get_cached(image_id)
        assert cached is not None
        assert cached.image.record.key == key
        assert key.encode() in (redis_client.get(f"image:url:{image_id}") or b"")


async def test_every_image_marked_stale_in_the_middle_of_a_group_is_read_again(
    tier: Tier, resolver: UrlResolver, table: SlowTable
) -> None:
    tier.table.add("a", "b")
    table.released.clear()
    group = asyncio.gather(*map(resolver.look_up, "ab"))
    await table.asked.wait()
    tier.log.missed(Source.REPLICAS, boot_time())
    table.released.set()
    await group
    assert resolver.get_cached("a") is None
    assert resolver.get_cached("b") is None


async def test_memory_serves_while_one_of_its_urls_can_be_used(resolver: UrlResolver, tier: Tier) -> None:
    tier.table.add("a")
    with pytest.raises(ImageNotFound):
        await resolver.look_up("unknown")
    assert not resolver.serves_from_memory()
    await resolver.look_up("a")
    assert resolver.serves_from_memory()
    tier.clock.now += 3600
    assert not resolver.serves_from_memory()
