"""The ids of the canary's requests, by which a gateway counts them apart from those of users."""

import hmac
import re
import time
from collections.abc import Callable
from typing import Final

from gateway.settings import Live

PREFIX: Final = "canary-"
_MARK: Final = re.compile(rf"{PREFIX}([0-9a-f]{{8}})-([0-9a-f]{{32}})")
_LIFE: Final = 120  # seconds; the logs of fronts have marks, too
_SHOWN: Final = len(PREFIX) + 8 + 1 + 8  # characters: the time and a quarter of the MAC


class CanaryMark:
    """Makes and recognizes the canary's request ids, which only gateways can make. Fronts pass them on.

    secret: the same for all gateways. Users cannot make such an id without it.
    """

    def __init__(self, secret: Live[str], now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._key = secret.map(lambda value: hmac.digest(value.encode(), b"image-gateway canary", "sha256"))

    def make(self) -> str:
        """Return a mark that is valid for two minutes."""
        time_of_it = f"{int(self._now()):08x}"
        return f"{PREFIX}{time_of_it}-{self._mac(time_of_it)}"

    def shown(self, request_id: str) -> str | None:
        """Return what answers and logs show of a canary's id. None: the request is not of a canary of these gateways.

        It is no mark: a cache sends the answer to users, who could hide their requests by the whole.
        """
        found = _MARK.fullmatch(request_id)
        if found is None or abs(self._now() - int(found[1], 16)) >= _LIFE:
            return None
        return request_id[:_SHOWN] if hmac.compare_digest(self._mac(found[1]), found[2]) else None

    def _mac(self, time_of_it: str) -> str:
        return hmac.digest(self._key.value, time_of_it.encode(), "sha256").hex()[:32]
