"""The guard of the console against DNS rebinding: the ``Host`` must be a name of this machine.

A page of another site can give its own name the address of the admin port, and is then of the same origin as the
console. It cannot make a browser send another ``Host``.
"""

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden
from gateway.net.ip_address import parse_ip


class KnownHostOnly:
    """Makes handlers require a ``Host`` that is localhost, an IP address or ``admin_host`` (``admin.host``)."""

    def __init__(self, admin_host: str) -> None:
        self._admin_host = admin_host

    def __call__(self, handler: Handler) -> Handler:
        """Return a handler that raises ``Forbidden`` for any other ``Host``."""

        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not _is_known(request.host, self._admin_host):
                raise Forbidden("Host must be localhost, an IP address or admin.host")
            return await handler(request)

        return guarded


def _is_known(host: str, configured: str) -> bool:
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or not (port == "" or port.startswith(":")):
            return False
    else:
        name = host.partition(":")[0]
    name = name.lower().removesuffix(".")
    return (
        name == "localhost" or name.endswith(".localhost") or name == configured.lower() or parse_ip(name) is not None
    )
