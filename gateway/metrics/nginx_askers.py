"""The nginxes that ask for changes, and how long ago each last asked."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_MOST: Final = 100
_REMEMBERED: Final = 24 * 3600  # seconds
_ASKING: Final = 60.0  # seconds after the last question within which no other nginx takes the place


class NginxAskers(Collector):
    """Remembers the nginxes by name: at most 100, and for a day."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked: OrderedDict[str, float] = OrderedDict()

    def asks(self, name: str) -> None:
        """Note that the nginx of this name asks. A new name pushes out none that still asks."""
        now = self._now()
        if name not in self._asked and len(self._asked) >= _MOST:
            if now - next(iter(self._asked.values())) < _ASKING:
                return
            self._asked.popitem(last=False)
        self._asked[name] = now
        self._asked.move_to_end(name)

    def seconds(self) -> dict[str, float]:
        """Return for each nginx how long ago it last asked, by name."""
        now = self._now()
        while self._asked and now - next(iter(self._asked.values())) > _REMEMBERED:
            self._asked.popitem(last=False)
        return {name: now - self._asked[name] for name in sorted(self._asked)}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "image_gateway_nginx_asked_seconds",
            "Seconds since the nginx last asked for changes; absent a day after it stopped.",
            labels=["nginx"],
        )
        for name, seconds in self.seconds().items():
            family.add_metric([name], seconds)
        yield family

    describe = collect  # so the registry refuses another collector of this name
