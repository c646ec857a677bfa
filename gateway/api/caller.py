"""Who sent this request."""

import logging
from dataclasses import replace

from aiohttp import hdrs, web

from gateway.access.identity import Caller
from gateway.access.links import BadLink
from gateway.api.keys import AUTHENTICATOR, LINKS

logger = logging.getLogger(__name__)


def caller_of(request: web.Request) -> Caller:
    """The caller by the request's credentials and, when he only reads, by a signed link; never raises."""
    caller = request.app[AUTHENTICATOR].identify(request.headers, peer=_peer(request), method=request.method)
    if LINKS not in request.app or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return caller
    try:
        # The path as it was sent: what a proxy rewrote is not what was signed.
        link = request.app[LINKS].read(request.rel_url.raw_path, request.query)
    except BadLink as error:
        logger.debug("link rejected: %s", error)
        return replace(caller, rejected=True)
    return replace(caller, link=link)


async def vary_by_identity(request: web.Request, response: web.StreamResponse) -> None:
    """Where an answer differs by caller, name every field that tells callers; a signal handler of the application."""
    if response.headers.get(hdrs.VARY) == hdrs.AUTHORIZATION:
        response.headers[hdrs.VARY] = request.app[AUTHENTICATOR].varies_by


def _peer(request: web.Request) -> str | None:
    """The address at the other end of the socket; None when it is closed, or no internet socket."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else None
