"""The life of a presigned URL: until when it is used, and when it is renewed."""

import math
import random
from collections.abc import Callable

from gateway.presign.signed_image import BACKDATE, PresignedUrl
from gateway.settings import UrlCacheSettings, UrlPrerefreshSettings

# How far the clocks of replicas, of COS and of this machine may be apart, in seconds.
CLOCK_SKEW = 5
_SPREAD = 0.1
_HOTTEST = 16  # a URL used 2**16 times or more counts as equally hot


class Lifetime:
    """Durations in seconds.

    ttl: the life for which a URL is signed.
    min_remaining: the least remaining life with which a URL is used. It is a margin for the transfer and for clocks
    that differ.
    threshold: how long before its end a URL is due for renewal.

    When a token ends a URL sooner, margin and threshold shrink in proportion to the life of the URL. The margin stays
    above the difference of clocks.
    """

    def __init__(
        self,
        url_cache: UrlCacheSettings,
        renewal: UrlPrerefreshSettings,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.use(url_cache, renewal)
        self.random = random

    def use(self, url_cache: UrlCacheSettings, renewal: UrlPrerefreshSettings) -> None:
        """Use these settings from now on, also for URLs that are already signed."""
        self.ttl, self.min_remaining = url_cache.default_ttl, url_cache.min_remaining
        self.threshold = renewal.threshold

    def margin(self, presigned: PresignedUrl) -> int:
        """Return the seconds of validity that the URL must have left to be used."""
        life = presigned.expires_at - presigned.signed_at
        if life >= self.ttl:
            return self.min_remaining
        return max(min(self.min_remaining, CLOCK_SKEW), self.min_remaining * life // self.ttl)

    def lease(self, lease: float, token_life: float | None) -> float:
        """Return for how long a worker claims renewals: ``lease``, or less with tokens of ``token_life`` seconds.

        The claims of a dead worker are then due again long before the URLs end.
        """
        if token_life is None or token_life >= self.ttl:
            return lease
        return min(lease, max(1.0, self._threshold(token_life) / 3))

    def usable_for(self, presigned: PresignedUrl, now: float) -> float:
        """Return the seconds for which the URL may still be used. Zero or less: the URL must not be used any more."""
        return presigned.expires_at - self.margin(presigned) - now

    def is_usable(self, presigned: PresignedUrl, now: float) -> bool:
        """Return whether the URL may be used at ``now`` (Unix seconds).

        A clock that ran ahead made a URL whose signature has not begun: COS refuses it.
        """
        return presigned.signed_at - BACKDATE <= now <= presigned.expires_at - self.margin(presigned)

    def redirect_max_age(self, presigned: PresignedUrl, max_age: int, now: float) -> int:
        """Return for how many seconds a redirect to the URL may be cached: at most ``max_age``, 0 if it is too old."""
        return max(0, min(max_age, int(self.usable_for(presigned, now))))

    def fresh_until(self, expires_at: float) -> float:
        """Return the earliest time at which a URL with that end may be due for renewal. Until that time it is fresh."""
        return expires_at - min(self.threshold, self.ttl) - 2 * _SPREAD * self.ttl

    def due_at(self, presigned: PresignedUrl, hits: float = 0) -> float:
        """Return when to renew, in Unix seconds: ``threshold`` before the end, or earlier.

        The time is earlier by up to a tenth of the life at random, so that a batch signed together is not due together.
        It is earlier by up to another tenth by ``hits``, so that the most used URLs come first if renewals run late.
        """
        life = presigned.expires_at - presigned.signed_at
        hotness = min(1.0, math.log2(1 + hits) / _HOTTEST)
        due = presigned.expires_at - self._threshold(life) - _SPREAD * (self.random() + hotness) * life
        return max(float(presigned.signed_at), due)

    def _threshold(self, life: float) -> float:
        return min(self.threshold, life) if life >= self.ttl else self.threshold * life / self.ttl
