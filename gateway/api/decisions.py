"""How long nginx may keep an answer about access: ``X-Decision-For``, in seconds.

nginx keeps a decision per image, style and credential, and drops it when the list of changes says so. Only rights that
end by time are considered here.
"""

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway.access.identity import Caller
from gateway.api.caller import CALLER
from gateway.delivery.image_request import Exchange
from gateway.presign.lifetime import Lifetime
from gateway.settings import AccessSettings, Live

FIELD: Final = "X-Decision-For"
# The user in nginx's key of the decision, for callers that a proxy names.
_KEY_USER: Final = "X-Decision-User"


class Decisions:
    """Returns seconds, 0 for an answer that must not be kept.

    cos_now: Unix seconds of COS's clock, by which presigned URLs end.
    """

    def __init__(self, settings: Live[AccessSettings], lifetime: Lifetime, cos_now: Callable[[], float]) -> None:
        self._settings = settings
        self._lifetime = lifetime
        self._cos_now = cos_now

    @property
    def _ttl(self) -> int:
        """The most seconds for an answer that depends on the caller. 0: no answer may be kept."""
        return self._settings.value.decision_ttl

    def on_access(self, request: web.BaseRequest) -> int:
        """Return for how long the answer to an access check may be kept that allows the caller to view the image."""
        caller = request.get(CALLER)
        return self._of(request, caller) if caller is not None else 0

    def on_image(self, exchange: Exchange) -> int:
        """Return for how long nginx may repeat an order to send the image of ``exchange``, whose URL ends."""
        image, request = exchange.image, exchange.request
        # Other answers depend on more of the request than nginx's key has.
        if not self._ttl or not exchange.wanted.is_plain or exchange.is_fallback or exchange.context.is_negotiated:
            return 0
        url_ends_in = int(self._lifetime.usable_for(image.presigned, self._cos_now()))
        if image.public:
            return max(0, min(url_ends_in, exchange.policy.max_age))
        caller = request.get(CALLER)
        return max(0, min(url_ends_in, self._of(request, caller))) if caller is not None else 0

    def _of(self, request: web.BaseRequest, caller: Caller) -> int:
        if _is_unknown_to_nginx(request, caller):
            return 0
        if caller.known_until is None:
            return self._ttl
        return max(0, min(self._ttl, int(caller.known_until - time.time())))


def _is_unknown_to_nginx(request: web.BaseRequest, caller: Caller) -> bool:
    """Return whether the user is not the user of nginx's key: the decision would count for other users."""
    return caller.is_forwarded and (request.headers.get(_KEY_USER) or None) != caller.user
