"""Totals of look-ups in the tiers of the URL cache, for statistics and monitoring."""

from gateway.metrics.collectors import Metrics


class LookupCounts:
    """Reads the counter to which the resolver adds, by tier (``local``, ``redis``) and result.

    Results are ``hit``, ``miss``, ``unknown`` (a missing image remembered as such), ``error`` and ``foreign`` (an entry
    that a gateway with another configuration wrote).
    """

    def __init__(self, metrics: Metrics) -> None:
        self._lookups = metrics.url_cache_lookups

    def total(self, tier: str, result: str) -> int:
        """Return the number of such look-ups since the start."""
        return self._lookups.total((tier, result))

    def misses(self, tier: str) -> int:
        """Return the number of look-ups in ``tier`` that found no entry to use."""
        return sum(self.total(tier, result) for result in ("miss", "error", "foreign"))

    def hit_rate(self, tier: str | None = None) -> float | None:
        """Return the share of hits among the look-ups in ``tier``, or in both tiers together. None before the first."""
        if tier is None:
            hits = self.total("local", "hit") + self.total("redis", "hit")
            lookups = self.total("local", "hit") + self.total("local", "miss")
        else:
            hits = self.total(tier, "hit")
            lookups = hits + self.misses(tier)
        return hits / lookups if lookups else None
