"""The version of the nginx files in front: each file sends its version, and a wrong version is reported."""

import asyncio
import logging
import re
from typing import Final

from multidict import istr

from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

# Raised with every change of config/nginx that operators must install: for safety, or with a change of the gateway.
VERSION: Final = 4
FIELD: Final = istr("X-Gateway-Config-Version")
GATEWAY_CONF: Final = f"gateway.conf {VERSION}"
GATEWAY_CACHE_CONF: Final = f"gateway-cache.conf {VERSION}"
ACCEL_CONF: Final = f"accel.conf {VERSION}, to-gateway.conf {VERSION}"
PRIVATE_CACHE_CONF: Final = f"private-cache.conf {VERSION}, to-gateway.conf {VERSION}"
_LOOK_AGAIN: Final = 5.0  # seconds
_KNOWN_FORM: Final = re.compile(r"[a-z.-]{1,32} [0-9]{1,4}(, [a-z.-]{1,32} [0-9]{1,4})?")


class NginxFiles:
    """Counts requests for images that come through nginx files of another release, and logs the first such request.

    It also notes every five seconds if requests come through ``gateway-cache.conf``, whose nginx must ask for changes.

    ``accepted`` are the values of ``FIELD`` for which ``report`` need not be called. Without accel the field may be
    missing: any proxy, or no proxy, may be in front. With accel, ``gateway.conf`` fails every image, which
    ``AccelPrefix`` reports.
    """

    def __init__(self, delivery: str, metrics: Metrics) -> None:
        self._silent_about: frozenset[str | None] = frozenset(
            {ACCEL_CONF, GATEWAY_CONF} if delivery == "accel" else {None, GATEWAY_CONF, ACCEL_CONF, PRIVATE_CACHE_CONF}
        )
        self.accepted = self._silent_about
        self._delivery = delivery
        self._metrics = metrics
        self._is_logged = False

    def report(self, version: str | None) -> None:
        """Count a request whose ``FIELD`` has a value that is not accepted. Log such a request once per process."""
        if version == GATEWAY_CACHE_CONF:
            self._metrics.nginx_asked.sends_copies()
            self.accepted = self._silent_about | {GATEWAY_CACHE_CONF}
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look_again)
            return
        self._metrics.nginx_config_mismatches.inc()
        if self._is_logged:
            return
        self._is_logged = True
        # Any client that reaches the gateway without nginx chooses the value.
        shown = version if version is not None and _KNOWN_FORM.fullmatch(version) else "none that is known"
        needed = ACCEL_CONF if self._delivery == "accel" else GATEWAY_CONF
        logger.warning(
            "nginx's files are not those of this release: version=%s expected=%s delivery=%s; "
            "install config/nginx of this release and reload nginx",
            shown,
            needed,
            self._delivery,
        )

    def _look_again(self) -> None:
        self.accepted = self._silent_about
