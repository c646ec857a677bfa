"""How long nginx may keep an answer about access: ``X-Decision-For``, in seconds.

nginx keeps a decision per image, style and credential, and drops it when the list of changes says so. Only rights that
end by time are considered here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.access.identity import Caller
from gateway.delivery.cache_policy import CachePolicy
from gateway.presign.signer import SignedImage
from gateway.presign.url_lifetime import CosClock, Lifetime
from gateway.settings import AccessSettings, Live

DECISION_FOR: Final = "X-Decision-For"
# The user in nginx's key of the decision, for callers that a proxy names.
_KEY_USER: Final = "X-Decision-User"


@dataclass(frozen=True, slots=True)
class NginxDecisions:
    """Computes how many seconds nginx may keep an answer about access, 0: none. ``clock``: COS's, by which URLs end."""

    settings: Live[AccessSettings]
    lifetime: Lifetime
    clock: CosClock

    def on_access(self, headers: Mapping[str, str], caller: Caller, now: float) -> int:
        """Return for how long the answer to an access check may be kept that allows the caller to view the image."""
        # The user may not be the user of nginx's key: the decision would count for other users.
        if caller.is_forwarded and (headers.get(_KEY_USER) or None) != caller.user:
            return 0
        if caller.known_until is None:
            return self.settings.value.decision_ttl
        return max(0, min(self.settings.value.decision_ttl, int(caller.known_until - now)))

    def on_image(
        self, headers: Mapping[str, str], image: SignedImage, caller: Caller | None, policy: CachePolicy, now: float
    ) -> int:
        """Return for how long nginx may send the image, whose URL ends, to others that may see it."""
        if not self.settings.value.decision_ttl or policy.unread:
            return 0
        url_ends_in = int(self.lifetime.usable_for(image.presigned, now + self.clock.offset))
        if image.public:
            return max(0, min(url_ends_in, policy.max_age))
        return max(0, min(url_ends_in, self.on_access(headers, caller, now))) if caller is not None else 0
