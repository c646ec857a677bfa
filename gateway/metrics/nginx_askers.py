"""The nginxes that ask for changes, and how long ago each last asked."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_MOST: Final = 100
_REMEMBERED: Final = 24 * 3600  # seconds


class NginxAskers(Collector):
    """Remembers the nginxes by name: at most 100, and for a day."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, float] = OrderedDict()

    def asks(self, name: str) -> None:
        """Note that the nginx of this name asks."""
        self._asked[name] = time.monotonic()
        self._asked.move_to_end(name)
        if len(self._asked) > _MOST:
            self._asked.popitem(last=False)

    def seconds(self) -> dict[str, float]:
        """Return for each nginx how long ago it last asked, by name."""
        now = time.monotonic()
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
