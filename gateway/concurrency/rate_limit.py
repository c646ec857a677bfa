"""A limit on requests for each client, in a bounded amount of memory."""

import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Limits the requests of each client by a token bucket: ``burst`` at once, then ``per_second``.

    The least recently seen client is forgotten first. A client that is forgotten starts with a full bucket again.
    """

    def __init__(
        self, per_second: float, burst: int, *, max_clients: int = 10_000, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        self._max_clients = max_clients
        self._now = now
        # When each client's bucket will be full, which is its whole state: the "theoretical arrival time" of the
        # generic cell rate algorithm (ITU-T I.371).
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, client: str) -> float:
        """Count a request of ``client`` and return 0, or return the seconds until ``client`` may make a request."""
        now = self._now()
        wait = self.left(client, now)
        full_at = max(now, self._full_at.pop(client, now))
        self._full_at[client] = full_at + self._interval if wait == 0 else full_at
        if len(self._full_at) > self._max_clients:
            self._full_at.popitem(last=False)
        return wait

    def left(self, client: str, now: float | None = None) -> float:
        """Return the seconds until ``client`` may make a request, without counting a request."""
        now = self._now() if now is None else now
        wait = self._full_at.get(client, now) - self._tolerance - now
        return wait if wait > self._interval / 1000 else 0.0  # the sum of many intervals is not exact
