"""Recent errors by code: how many, and the time and the image of the last error."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class RecentError:
    """The errors with the same code since the start. ``image_id`` is None if the last request named no image."""

    code: str
    count: int
    at: float
    image_id: str | None

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "count": self.count, "at": self.at, "image_id": self.image_id}


class RecentErrors:
    """An entry for each code of an error, of which there are few. Only failed requests update an entry."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._by_code: dict[str, RecentError] = {}
        self._now = now

    def record(self, code: str, image_id: str | None) -> None:
        known = self._by_code.get(code)
        if known is None:
            known = self._by_code[code] = RecentError(code, 0, 0.0, None)
        known.count += 1
        known.at, known.image_id = self._now(), image_id

    def totals(self) -> dict[str, int]:
        """Return the number of errors by code."""
        return {code: error.count for code, error in self._by_code.items()}

    def newest(self) -> list[RecentError]:
        """Return the errors, the latest first."""
        return sorted(self._by_code.values(), key=lambda error: -error.at)
