"""The nginxes that ask for changes, how long ago each last asked, and whether nginx sends copies that need it."""

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily

from gateway.findings.finding import Finding
from gateway.metrics.loop_counters import NamedCollector

SILENT: Final = 30.0  # seconds, as in the alerts
_CACHE_IN_USE: Final = 60.0  # seconds after the last request through a cache that must hear of changes
_MOST_NAMED: Final = 3  # problems
_MOST: Final = 100
_REMEMBERED: Final = 24 * 3600  # seconds
_ASKING: Final = 60.0  # seconds after the last question within which no other nginx takes the place
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# A page may let a browser ask any address. Browsers send Sec-Fetch-Site to https and localhost alone.
_OF_BROWSERS: Final = ("Sec-Fetch-Site", "Accept-Language")


def asking_nginx(query: Mapping[str, str], headers: Mapping[str, str]) -> str | None:
    """Return the name of the nginx that asks for changes. None without a valid name, or if a browser asks."""
    name = query.get("nginx", "")
    return name if _NAME.fullmatch(name) and not any(field in headers for field in _OF_BROWSERS) else None


class NginxLastAsked(NamedCollector):
    """Metric: when each nginx in front last asked for changed images, by nginx's name. At most 100, each for a day.

    hears_all: whether this process hears of each question for changes that its admin port gets.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.hears_all = True
        self._started = now()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._cache_used = float("-inf")

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

    def sends_copies(self) -> None:
        """Note a request through an nginx that sends copies of public images until it hears of their changes."""
        self._cache_used = self._now()

    def cache_seconds(self) -> float | None:
        """Return how long ago such a request came, or None without one in the last minute."""
        seconds = self._now() - self._cache_used
        return seconds if seconds < _CACHE_IN_USE else None

    def symptoms(self) -> list[Finding]:
        """Return the problems: an nginx that has stopped asking, and a cache in use of which no nginx asks."""
        if not self.hears_all:
            return []
        asked = self.seconds()
        silent = sorted((name for name, seconds in asked.items() if seconds > SILENT), key=lambda name: asked[name])
        found = [Finding.of("nginx_silent", nginx=name, seconds=round(asked[name])) for name in silent]
        since = min([self._now() - self._started, *asked.values()])
        if self.cache_seconds() is not None and since > SILENT:
            found.insert(0, Finding.of("nginx_unheard"))
        return found[:_MOST_NAMED]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "image_gateway_nginx_asked_seconds",
            "Seconds since the nginx last asked for changes; absent a day after it stopped.",
            labels=["nginx"],
        )
        for name, seconds in self.seconds().items():
            family.add_metric([name], seconds)
        yield family
        yield GaugeMetricFamily(
            "image_gateway_nginx_cache_used_seconds",
            "Seconds since a request came through gateway-cache.conf, whose nginx must ask for changes; absent after a "
            "minute.",
            value=self.cache_seconds(),
        )
