"""Recent errors by code: how many, and the time and the image of the last error. And the last requests that failed."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

_MOST_REQUESTS: Final = 200


@dataclass(slots=True)
class RecentError:
    """An error code of failed requests: how many since the start, and the time and the image of the last request."""

    code: str
    count: int
    at: float
    image_id: str | None


class RecentErrors:
    """Records the requests of this process that failed: a ``RecentError`` for each code, and the last requests."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._by_code: dict[str, RecentError] = {}
        self._requests: deque[tuple[str, float, str]] = deque(maxlen=_MOST_REQUESTS)
        self._now = now

    def record(self, code: str, image_id: str | None, request_id: str) -> None:
        known = self._by_code.setdefault(code, RecentError(code, 0, 0.0, None))
        known.count += 1
        known.at, known.image_id = self._now(), image_id
        self._requests.append((request_id, known.at, code))

    def request(self, request_id: str) -> dict[str, Any]:
        """Return when and how the request failed: None if it is not one of the last that did in this process."""
        found = next((seen for seen in reversed(self._requests) if seen[0] == request_id), (request_id, None, None))
        return {"request_id": found[0], "failed_at": found[1], "code": found[2]}

    def totals(self) -> dict[str, int]:
        return {code: error.count for code, error in self._by_code.items()}

    def newest(self) -> list[RecentError]:
        return sorted(self._by_code.values(), key=lambda error: -error.at)
