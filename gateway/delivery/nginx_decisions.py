"""How long nginx may keep an answer about access: ``X-Decision-For``, in seconds.

nginx keeps a decision per image, style and credential, and drops it when the list of changes says so. Only rights that
end by time are considered here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.access.caller import Caller
from gateway.access.policy import Permission
from gateway.delivery.cache_policy import CachePolicy
from gateway.presign.signer import SignedImage
from gateway.presign.url_lifetime import CosClock, Lifetime
from gateway.settings import AccessSettings, Live

DECISION_FOR: Final = "X-Decision-For"
# The user and the groups in nginx's key of the decision, for callers that a proxy names.
_KEY_USER: Final = "X-Decision-User"
_KEY_GROUPS: Final = "X-Decision-Groups"


@dataclass(frozen=True, slots=True)
class NginxDecisions:
    """Computes how many seconds nginx may keep an answer about access, 0: none. ``clock``: COS's, by which URLs end."""

    settings: Live[AccessSettings]
    lifetime: Lifetime
    clock: CosClock

    def on_access(self, headers: Mapping[str, str], caller: Caller, permission: Permission, now: float) -> int:
        """Return for how long the answer to an access check may be kept that allows the caller to view the image."""
        settings = self.settings.value
        if caller.is_forwarded:
            # The user may not be the user of nginx's key: the decision would count for other users.
            if (headers.get(_KEY_USER) or None) != caller.user:
                return 0
            groups_header = settings.forwarded_user.groups_header if settings.forwarded_user is not None else None
            if groups_header is not None and headers.get(_KEY_GROUPS, "") != headers.get(groups_header, ""):
                return 0
        ends = [int(end - now) for end in (caller.known_until, permission.until) if end is not None]
        return max(0, min([settings.decision_ttl, *ends]))

    def on_image(
        self,
        headers: Mapping[str, str],
        image: SignedImage,
        caller: Caller | None,
        permission: Permission,
        policy: CachePolicy,
        now: float,
    ) -> int:
        """Return for how long nginx may send the image, whose URL ends, to others that may see it."""
        if not self.settings.value.decision_ttl or policy.unread:
            return 0
        url_ends_in = int(self.lifetime.usable_for(image.presigned, now + self.clock.offset))
        if image.public:
            return max(0, min(url_ends_in, policy.max_age))
        if caller is None:
            return 0
        kept_for = min(url_ends_in, self.on_access(headers, caller, permission, now))
        if permission.until is not None:  # nginx repeats the policy, by which a browser keeps its copy from then on
            kept_for = min(kept_for, int(permission.until - now) - policy.max_age)
        return max(0, kept_for)
