"""The nginxes that ask for changes, and how long ago each last asked."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_NAME: Final = "image_gateway_nginx_asked_seconds"
_HELP: Final = "Seconds since the nginx last asked for changes; absent a day after it stopped."
_MOST: Final = 100
_REMEMBERED: Final = 24 * 3600  # seconds


class NginxAskers(Collector):
    """Remembers the nginxes by name: at most 100, and for a day."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked: OrderedDict[str, float] = OrderedDict()

    def asks(self, name: str) -> None:
        """Note that the nginx of this name asks."""
        self._asked[name] = self._now()
        self._asked.move_to_end(name)
        if len(self._asked) > _MOST:
            self._asked.popitem(last=False)

    def seconds(self) -> dict[str, float]:
        """Return for each nginx how long ago it last asked, by name."""
        now = self._now()
        while self._asked and now - next(iter(self._asked.values())) > _REMEMBERED:
            self._asked.popitem(last=False)
        return {name: now - self._asked[name] for name in sorted(self._asked)}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(_NAME, _HELP, labels=["nginx"])
        for name, seconds in self.seconds().items():
            family.add_metric([name], seconds)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the name, so that the registry refuses another collector of this name."""
        yield GaugeMetricFamily(_NAME, _HELP, labels=["nginx"])
