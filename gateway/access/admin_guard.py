"""The admin token, and a limit on attempts to guess it."""

import hmac
import time
from collections.abc import Callable, Mapping
from typing import Final

from gateway.access.request_head import bearer_token, values_of
from gateway.concurrency.rate_limit import RateLimit
from gateway.errors import Forbidden, TooManyRequests, Unauthorized
from gateway.metrics.loop_counters import LoopCounter
from gateway.settings import AdminSettings, Live

# Of each client address. A token of 16 characters is not guessed at that pace.
BURST: Final = 10
_SECONDS_PER_ATTEMPT: Final = 10.0


class AdminGuard:
    """Admits operators' requests with ``Authorization: Bearer <admin.token>``. Only the admin port uses it.

    attempts: counts requests with a token, by result.
    now: monotonic seconds.
    token: None: changes are not possible.
    """

    def __init__(
        self, settings: Live[AdminSettings], attempts: LoopCounter, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._attempts = attempts
        self._wrong = RateLimit(1 / _SECONDS_PER_ATTEMPT, BURST, now=now)
        self.token = settings.map(_token)

    def check(self, headers: Mapping[str, str], client: str) -> None:
        """Return if the request has the token.

        Raises ``Forbidden`` if no token is configured, ``Unauthorized`` without the right token, and
        ``TooManyRequests`` after many wrong tokens. Then the right token is refused, too, so that an answer tells
        nothing about a guess. ``client``: the client's address.
        """
        token = self.token.value
        if token is None:
            raise Forbidden
        sent = [token for token in map(bearer_token, values_of(headers, "Authorization")) if token is not None]
        if not sent:
            raise Unauthorized
        wait = self._wrong.left(client)
        if wait > 0:
            self._attempts.add(("limited",))
            raise TooManyRequests("attempts with a wrong admin token", wait=wait)
        # One token: the field is not a list, so repetitions are ambiguous (RFC 9110 section 5.3).
        if len(sent) > 1 or not hmac.compare_digest(sent[0].encode(errors="surrogateescape"), token):
            self._wrong.wait(client)
            self._attempts.add(("refused",))
            raise Unauthorized
        self._attempts.add(("accepted",))


def _token(settings: AdminSettings) -> bytes | None:
    return settings.token.get_secret_value().encode() if settings.token is not None else None
