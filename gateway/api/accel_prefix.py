"""Requests for ``image_proxy.accel_prefix``, which nginx must serve itself."""

import logging
from typing import NoReturn

from aiohttp import web

from gateway.errors import AccelNotConfigured
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)


class AccelPrefix:
    """Responds to requests below the prefix with an error.

    ``config/nginx/accel.conf`` declares the prefix ``internal``, so nginx responds 404 to a client that requests it.
    Only an nginx without that location passes on the path of an ``X-Accel-Redirect``, and then every image fails.
    """

    def __init__(self, prefix: str, metrics: Metrics) -> None:
        self.prefix = prefix
        self._metrics = metrics
        self._is_logged = False

    async def refuse(self, _: web.Request) -> NoReturn:
        """Count the request, log the cause once per process, and raise ``AccelNotConfigured``."""
        self._metrics.accel_not_configured.inc()
        if not self._is_logged:
            self._is_logged = True
            logger.error(
                "nginx does not serve image_proxy.accel_prefix, so every image fails: code=%s prefix=%s; "
                "install config/nginx/accel.conf in place of gateway.conf, or set image_proxy.delivery to stream",
                AccelNotConfigured.code,
                self.prefix,
            )
        raise AccelNotConfigured(f"prefix={self.prefix}")
