"""Where presigned URLs were found, counted for Prometheus and for the statistics."""

from gateway.metrics.collectors import Metrics


class LookupCounts:
    """Looks by tier (``local``, ``redis``) and result (``hit``, ``miss``, ``unknown``, ``error``)."""

    def __init__(self, metrics: Metrics) -> None:
        self._lookups = metrics.url_cache_lookups

    def count(self, tier: str, result: str, number: int = 1) -> None:
        """So many looks into ``tier`` had that ``result``."""
        if number:
            self._lookups.add((tier, result), number)

    def total(self, tier: str, result: str) -> int:
        """How many there were since the start."""
        return self._lookups.total((tier, result))

    def hit_rate(self, tier: str | None = None) -> float | None:
        """The share of looks into ``tier`` that were hits; of both tiers together if None; None before the first."""
        if tier is None:
            hits = self.total("local", "hit") + self.total("redis", "hit")
            looks = self.total("local", "hit") + self.total("local", "miss")
        else:
            hits = self.total(tier, "hit")
            looks = hits + self.total(tier, "miss") + self.total(tier, "error")
        return hits / looks if looks else None
