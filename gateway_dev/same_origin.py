"""The guard of addresses that only the playground's page on this machine may use: they show tokens and break things."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import RouteNotFound
from gateway.net.ip_address import is_loopback

_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


def this_machine_only(handler: Handler) -> Handler:
    """Raise ``RouteNotFound`` for requests that do not come from this machine, or come from a page of another site.

    The ``Host`` must name this machine: with DNS rebinding a page of another site gives its own name the address
    127.0.0.1 and is then of the same origin. A request that changes something must prove by ``Origin`` that it comes
    from the playground, since browsers send requests of other sites too, and only hide the answer.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not (_is_local(request) and _is_of_this_page(request)):
            raise RouteNotFound("only for the playground on this machine")
        return await handler(request)

    return guarded


def _is_local(request: web.Request) -> bool:
    host = request.host.removeprefix("[").partition("]")[0] if request.host[:1] == "[" else request.host.split(":")[0]
    return is_loopback(host) and is_loopback(request.remote or "")


def _is_of_this_page(request: web.Request) -> bool:
    origin = request.headers.get(hdrs.ORIGIN)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    if origin is None:  # browsers send it with every POST
        return request.method in _READS
    return origin == f"http://{request.host}"
