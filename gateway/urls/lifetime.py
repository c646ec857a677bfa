"""The one budget of a presigned URL's life: everything that depends on what remains of it is computed here."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.urls.presigned import PresignedUrl


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Durations in seconds.

    A URL is signed for ``ttl``. It is handed out only while at least ``min_remaining`` of it is left: that margin pays
    for the transfer and for clocks that differ. It falls due for renewal ``threshold`` before its end.
    """

    ttl: int
    min_remaining: int
    threshold: int
    random: Callable[[], float] = field(default=random.random)

    def usable_for(self, presigned: PresignedUrl, now: float) -> float:
        """Seconds for which the URL may still be handed out; zero or less: never again."""
        return presigned.expires_at - self.min_remaining - now

    def is_usable(self, presigned: PresignedUrl, now: float) -> bool:
        """Whether the URL may be handed out at ``now`` (Unix seconds)."""
        return self.usable_for(presigned, now) >= 0

    def redirect_max_age(self, presigned: PresignedUrl, max_age: int, now: float) -> int:
        """For how many seconds a redirect to the URL may be cached: at most ``max_age``, never until it is too old."""
        return max(0, min(max_age, int(self.usable_for(presigned, now))))

    def due_at(self, presigned: PresignedUrl) -> float:
        """When to renew, in Unix seconds; spread over a tenth of the life, so that a batch does not fall due at once.

        The share is taken off, never added: spreading must not bring the renewal nearer to the end.
        """
        life = presigned.expires_at - presigned.signed_at
        earliest = presigned.expires_at - min(self.threshold, life) - self.random() * life / 10
        return max(float(presigned.signed_at), earliest)
