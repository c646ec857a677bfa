"""The version of the nginx files in front: each file sends its version, and a wrong version is reported."""

import asyncio
import logging
import re
from typing import Final, Literal, TypeAlias, get_args

from gateway.errors import AccelNotConfigured
from gateway.metrics.nginx_last_asked import NginxLastAsked
from gateway.metrics.registry import Registry

logger = logging.getLogger(__name__)

# Raised with every change of config/nginx that operators must install: for safety, or with a change of the gateway.
VERSION: Final = 5
GATEWAY_CONF: Final = f"gateway.conf {VERSION}"
GATEWAY_CACHE_CONF: Final = f"gateway-cache.conf {VERSION}"
ACCEL_CONF: Final = f"accel.conf {VERSION}, to-gateway.conf {VERSION}"
PRIVATE_CACHE_CONF: Final = f"private-cache.conf {VERSION}, to-gateway.conf {VERSION}"
_LOOK_AGAIN: Final = 5.0  # seconds
_KNOWN_FORM: Final = re.compile(r"[a-z.-]{1,32} [0-9]{1,4}(, [a-z.-]{1,32} [0-9]{1,4})?")

# Why nginx raised its floor, and with it forgot every copy: it started, it may have missed changes, or its memory of
# epochs was full.
FloorReason: TypeAlias = Literal["start", "gap", "full", "settings"]


class NginxMetrics:
    """Metrics of the nginx in front: its questions for changed images, what it forgets, and wrong configuration."""

    def __init__(self, registry: Registry) -> None:
        self.accel_not_configured = registry.counter(
            "accel_not_configured", "Requests with image_proxy.delivery accel that came without accel.conf of nginx."
        )
        self.nginx_config_mismatches = registry.loop_counter(
            "nginx_config_mismatches", "Requests for images through nginx files of another release."
        )
        self.nginx_misdirected = registry.loop_counter(
            "nginx_misdirected", "Questions of nginx for changes that came to the public port, which has no answer."
        )
        self.nginx_asked = NginxLastAsked()
        registry.register(self.nginx_asked)
        self.nginx_epochs = registry.counter(
            "nginx_epochs", "Changes that made an nginx forget its copies of an image."
        )
        self.nginx_floors = registry.counter(
            "nginx_floors",
            "Times that an nginx forgot every copy: it started, may have missed changes ('gap'), its zone was full, or "
            "a gateway started with other styles or variants, another bucket or table ('settings').",
            ("reason",),
            get_args(FloorReason),
        )


class NginxFiles:
    """Counts requests from an nginx whose configuration files are not those of this gateway, and logs the first one.

    It notes every five seconds if requests come through ``gateway-cache.conf``, whose nginx must ask for changes.

    ``accepted`` are the values of ``CONFIG_VERSION`` for which ``report`` need not be called. The field may be missing:
    any proxy, or none, may be in front. With accel it must be ``accel.conf``.
    """

    _SILENT_ABOUT: Final = frozenset({None, GATEWAY_CONF, ACCEL_CONF, PRIVATE_CACHE_CONF})

    def __init__(self, delivery: str, accel_prefix: str, metrics: NginxMetrics) -> None:
        self.accepted = self._SILENT_ABOUT
        self._delivery = delivery
        self._accel_prefix = accel_prefix
        self._metrics = metrics
        self._is_logged = False
        self._is_accel_logged = False

    def report(self, version: str | None) -> None:
        """Count a request whose ``CONFIG_VERSION`` is not accepted. Log such a request once per process."""
        if version == GATEWAY_CACHE_CONF:
            self._metrics.nginx_asked.sends_copies()
            self.accepted = self._SILENT_ABOUT | {GATEWAY_CACHE_CONF}
            asyncio.get_running_loop().call_later(_LOOK_AGAIN, self._look_again)
            return
        self._metrics.nginx_config_mismatches.add()
        if self._is_logged:
            return
        self._is_logged = True
        logger.warning(
            "nginx's files are not those of this release: version=%s expected=%s delivery=%s; "
            "install config/nginx of this release and reload nginx",
            # Any client that reaches the gateway without nginx chooses the value.
            version if version is not None and _KNOWN_FORM.fullmatch(version) else "none that is known",
            self._expected(version),
            self._delivery,
        )

    def _expected(self, version: str | None) -> str:
        """Return the version of the file that nginx has; without a known file, of that for the delivery."""
        file = (version or "").partition(" ")[0]
        known = (GATEWAY_CONF, GATEWAY_CACHE_CONF, ACCEL_CONF, PRIVATE_CACHE_CONF)
        usual = ACCEL_CONF if self._delivery == "accel" else GATEWAY_CONF
        return next((expected for expected in known if expected.partition(" ")[0] == file), usual)

    def _look_again(self) -> None:
        self.accepted = self._SILENT_ABOUT

    def accel_not_configured(self) -> AccelNotConfigured:
        """Count a request that needs ``accel.conf`` and came without it, and return the error.

        Any other proxy would send and keep an empty picture, and give the presigned URL away.
        """
        self._metrics.accel_not_configured.inc()
        if not self._is_accel_logged:
            self._is_accel_logged = True
            logger.error(
                "requests do not come through accel.conf of nginx, so every image fails: code=%s prefix=%s; "
                "install config/nginx/accel.conf in place of gateway.conf, or set image_proxy.delivery to stream",
                AccelNotConfigured.code,
                self._accel_prefix,
            )
        return AccelNotConfigured(f"prefix={self._accel_prefix}")
