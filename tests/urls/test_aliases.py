"""Aliases in memory: what was found is bounded, and no call gets the answer of a query from before a change."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from gateway.catalog.record import Rows
from gateway.concurrency.clocks import boot_time
from gateway.purge.target import Addresses, TargetUnavailable
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.aliases import Aliases
from tests.tier import RENDITIONS, Tier, record
from tests.urls.test_resolver import SlowTable

MAX_SIZE = 10


class Slugs(SlowTable):
    """The tier's table, whose answers about aliases, and about nothing else, wait for ``released``."""

    async def fetch_rows(self, image_ids: Sequence[str]) -> Rows:
        return await self._table.fetch_rows(image_ids)

    async def find_aliases(self, aliases: Sequence[str]) -> Mapping[str, str]:
        of = {found.alias: image_id for image_id, found in self._table.records.items() if found.alias is not None}
        self.asked.set()
        await self.released.wait()
        return {alias: of[alias] for alias in aliases if alias in of}

    async def aliases_of(self, image_ids: Sequence[str]) -> Mapping[str, str]:
        rows = (await self._table.fetch_rows(image_ids)).records
        return {image_id: found.alias for image_id, found in rows.items() if found.alias is not None}


@pytest.fixture
def slugs(tier: Tier) -> Slugs:
    return Slugs(tier)


@pytest.fixture
async def aliases(tier: Tier, slugs: Slugs) -> AsyncIterator[Aliases]:
    resolver = tier.resolver(catalog=slugs)
    tier.log.add_cache(resolver)
    made = Aliases(
        slugs.find_aliases, slugs.aliases_of, resolver, Live(UrlCacheSettings(max_size=MAX_SIZE)), 3, boot_time
    )
    yield made
    await made.close()
    await resolver.close()


def hang(tier: Tier, image_id: str, slug: str | None) -> None:
    """Give the image of the row this alias, and let the change be heard."""
    tier.table.records[image_id] = record(image_id, alias=slug)
    tier.log.image_changed(image_id, boot_time())


async def test_a_call_after_a_change_does_not_join_a_query_of_before(
    tier: Tier, slugs: Slugs, aliases: Aliases
) -> None:
    hang(tier, "a", "slug")
    slugs.released.clear()
    before = asyncio.create_task(aliases.image_of("slug"))
    await slugs.asked.wait()
    hang(tier, "a", None)
    hang(tier, "b", "slug")
    after = asyncio.create_task(aliases.image_of("slug"))
    await asyncio.sleep(0)
    slugs.released.set()
    assert (await before, await after) == ("a", "b")
    assert await aliases.image_of("slug") == "b"


async def test_images_that_have_lost_their_alias_are_forgotten_in_the_end(tier: Tier, aliases: Aliases) -> None:
    names = [f"image-{number}" for number in range(3 * MAX_SIZE)]
    for name in names:
        hang(tier, name, "slug")
        assert await aliases.image_of("slug") == name
        hang(tier, name, None)
    assert sorted(await aliases.of_images(names)) == sorted(names[-MAX_SIZE:])


async def test_a_purge_by_address_waits_until_the_aliases_of_its_images_can_be_read(
    tier: Tier, aliases: Aliases
) -> None:
    hang(tier, "a", "slug")
    tier.table.is_away = True
    with pytest.raises(TargetUnavailable, match="the aliases of images cannot be read: no answer"):
        await Addresses(("https://img.example.com",), RENDITIONS, aliases.of_images).of_images(["a"])
    assert await Addresses((), RENDITIONS, aliases.of_images).of_images(["a"]) == {"a": []}
