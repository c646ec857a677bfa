"""The correction of the clock after COS has refused a URL for its time."""

from collections.abc import AsyncIterator

import pytest

from gateway.presign.lifetime import CosClock, UsableUrls
from gateway.settings import Live, UrlCacheSettings
from gateway.urls.clock_correction import ClockCorrection
from gateway.urls.local_tier import LocalTier
from gateway.urls.resolver import UrlResolver
from tests.tier import NOW, RENDITIONS, Tier

AHEAD = NOW + 600  # the time of COS, by which this machine's clock is slow


@pytest.fixture
def cos_clock(tier: Tier) -> CosClock:
    return CosClock(tier.clock)


@pytest.fixture
async def resolver(tier: Tier, cos_clock: CosClock) -> AsyncIterator[UrlResolver]:
    """A resolver by COS's clock, which has looked up the image ``a``."""
    local = LocalTier(Live(UrlCacheSettings(max_size=10, local_ttl=3000)), RENDITIONS, tier.log, unknown_ttl=3)
    urls = UsableUrls(tier.signer, tier.lifetime, cos_clock.now)
    made = UrlResolver(tier.table, urls, tier.cache, local, tier.trust, tier.metrics.urls)
    tier.table.add("a")
    await made.look_up("a")
    yield made
    await made.close()


async def test_a_refusal_for_the_time_sets_the_clock_and_has_rows_of_the_old_clock_read_again(
    tier: Tier, cos_clock: CosClock, resolver: UrlResolver
) -> None:
    assert ClockCorrection(cos_clock, resolver).refused_at(AHEAD)
    assert cos_clock.now() == AHEAD
    await resolver.look_up("a")
    assert tier.table.queries == [["a"], ["a"]]


@pytest.mark.parametrize("cos_time", [None, NOW + 1.0])
async def test_another_refusal_moves_nothing_and_keeps_what_is_cached(
    tier: Tier, cos_clock: CosClock, resolver: UrlResolver, cos_time: float | None
) -> None:
    assert not ClockCorrection(cos_clock, resolver).refused_at(cos_time)
    assert cos_clock.now() == NOW
    await resolver.look_up("a")
    assert tier.table.queries == [["a"]]
