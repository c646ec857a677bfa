"""Requests for ``image_proxy.accel_prefix``, which nginx must serve itself."""

import re
from typing import NoReturn

from aiohttp import web

from gateway.api.nginx_files import NginxFiles
from gateway.delivery.accel import FAILED, REDIRECTED, is_accel_conf
from gateway.errors import RouteNotFound


class AccelPrefix:
    """Responds to requests below the prefix with an error.

    ``config/nginx/accel.conf`` declares the prefix ``internal``: nginx itself answers 404 to a client that requests it.
    Such a request reaches the gateway only if nginx lacks that location. Then ``X-Accel-Redirect`` leads back here, and
    every image fails.
    """

    def __init__(self, prefix: str, nginx_files: NginxFiles) -> None:
        self.prefix = prefix
        self._redirected = re.compile(re.escape(prefix) + REDIRECTED)
        self._nginx_files = nginx_files

    async def refuse(self, request: web.Request) -> NoReturn:
        """Raise ``RouteNotFound`` for a request of a client through ``accel.conf``, else ``AccelNotConfigured``."""
        if self._is_requested_through_accel_conf(request):
            raise RouteNotFound
        raise self._nginx_files.accel_not_configured()

    def _is_requested_through_accel_conf(self, request: web.Request) -> bool:
        """Return whether ``accel.conf`` passes on the address that a client requested.

        Its own location passes the address on as a failure, and an address with dot segments is of another location.
        With another prefix than the gateway's, it passes on the address of an ``X-Accel-Redirect`` instead.
        """
        if FAILED in request.headers:
            return True
        is_redirected = self._redirected.fullmatch(request.rel_url.raw_path) is not None
        return is_accel_conf(request.headers) and not is_redirected
