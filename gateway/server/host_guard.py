"""The guard of the admin port against DNS rebinding: the ``Host`` must be a name of this machine.

A page of another site can give its own name the address of the admin port, and is then of the same origin as what the
port answers. It cannot make a browser send another ``Host``. Every address is guarded: queues name private images,
metrics name buckets, and ``/readyz`` names the addresses of stores. Probes of Kubernetes and targets of service
discovery use IP addresses. Other names are in the settings.
"""

import logging
import re
from collections.abc import Iterable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import ForeignHost
from gateway.net.ip_address import is_loopback, parse_ip
from gateway.settings import AdminSettings

logger = logging.getLogger(__name__)

_LOGGED: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


def warn_if_open(admin: AdminSettings) -> None:
    """Log a warning if other machines reach the admin port, and no token guards it."""
    if admin.token is None and not is_loopback(admin.host):
        logger.warning("the admin port is reachable from outside and admin.token is not set: admin.host=%s", admin.host)


class HostGuard:
    """Refuses admin requests whose ``Host`` is not localhost, an IP address or in ``names``. Logs the first one."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower().removesuffix(".") for name in names)
        self._is_logged = False

    @web.middleware
    async def guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raise ``ForeignHost`` before the handler, also of an unknown address."""
        if host := request.headers.get(hdrs.HOST):  # a browser always sends one
            self._check(_name_in(host))
        return await handler(request)

    def _check(self, name: str | None) -> None:
        if name is not None and (
            name == "localhost" or name.endswith(".localhost") or name in self._names or parse_ip(name) is not None
        ):
            return
        if not self._is_logged:
            self._is_logged = True
            logger.warning(
                "the admin port refuses requests by a name that it does not have: host=%s; add the name to "
                "admin.allowed_hosts if Prometheus, a probe or the console uses it",
                name if name is not None and _LOGGED.fullmatch(name) else "not a name",
            )
        raise ForeignHost


def _name_in(host: str) -> str | None:
    """Return the name or address in a ``Host`` without its port, in lower case, or None if it is malformed."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or not (port == "" or port.startswith(":")):
            return None
    else:
        name = host.partition(":")[0]
    return name.lower().removesuffix(".")
