"""The problems with nginx by what all workers heard of it: nginx asks the parent, which asks one of the workers."""

import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.metrics.nginx_last_asked import nginx_symptoms
from gateway.metrics.symptom import Symptom
from gateway.workers.merged_metrics import Ended


class _Heard(NamedTuple):
    asked: Mapping[str, float]
    cache_seconds: float | None


class MergedNginx:
    """What each worker heard, as it was when its totals were read last."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._heard: dict[Ended, _Heard] = {}

    def read(self, worker: Ended, body: bytes) -> None:
        """Remember what the totals of a worker say of nginx. An answer that this version cannot read is ignored."""
        try:
            self._heard[worker] = _heard(json.loads(body)["data"]["nginx"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self._heard.pop(worker, None)

    def symptoms(self) -> list[Symptom]:
        """Return the problems."""
        self._heard = {worker: heard for worker, heard in self._heard.items() if not worker.ended.is_set()}
        asked: dict[str, float] = {}
        for heard in self._heard.values():
            asked |= {name: min(seconds, asked.get(name, seconds)) for name, seconds in heard.asked.items()}
        used = [heard.cache_seconds for heard in self._heard.values() if heard.cache_seconds is not None]
        return nginx_symptoms(asked, min(used, default=None), time.monotonic() - self._started)


def _heard(data: Mapping[str, Any]) -> _Heard:
    seconds = data["cache_seconds"]
    asked = {str(name): float(since) for name, since in data["asked"].items()}
    return _Heard(asked, float(seconds) if seconds is not None else None)
