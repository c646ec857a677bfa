"""Requests for ``image_proxy.accel_prefix``, which nginx must serve itself."""

import logging
import re
from typing import NoReturn

from aiohttp import web

from gateway.api.nginx_files import FIELD
from gateway.delivery.accel import FAILED, REDIRECTED
from gateway.errors import AccelNotConfigured, RouteNotFound
from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)


class AccelPrefix:
    """Responds to requests below the prefix with an error.

    ``config/nginx/accel.conf`` declares the prefix ``internal``: nginx itself answers 404 to a client that requests it.
    Such a request reaches the gateway only if nginx lacks that location. Then ``X-Accel-Redirect`` leads back here, and
    every image fails.
    """

    def __init__(self, prefix: str, metrics: Metrics) -> None:
        self.prefix = prefix
        self._redirected = re.compile(re.escape(prefix) + REDIRECTED)
        self._metrics = metrics
        self._is_logged = False

    async def refuse(self, request: web.Request) -> NoReturn:
        """Raise ``RouteNotFound`` if a client requested the prefix through ``accel.conf``.

        Otherwise count the request, log the cause once per process, and raise ``AccelNotConfigured``.
        """
        if self._is_requested_through_accel_conf(request):
            raise RouteNotFound
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

    def _is_requested_through_accel_conf(self, request: web.Request) -> bool:
        """Return whether ``accel.conf`` passes on the address that a client requested.

        Its own location passes the address on as a failure, and an address with dot segments is of another location.
        With another prefix than the gateway's, it passes on the address of an ``X-Accel-Redirect`` instead.
        """
        if FAILED in request.headers:
            return True
        is_redirected = self._redirected.fullmatch(request.rel_url.raw_path) is not None
        return request.headers.get(FIELD, "").startswith("accel.conf ") and not is_redirected
