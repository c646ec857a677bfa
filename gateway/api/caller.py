"""The caller of an HTTP request."""

import logging
from dataclasses import replace

from aiohttp import hdrs, web

from gateway.access.identity import Authenticator, Caller
from gateway.access.original_uri import Address
from gateway.access.signed_links import BadLink, SignedLinks

logger = logging.getLogger(__name__)

# The caller, for the access log; absent until a response depends on it.
CALLER = web.RequestKey("caller", Caller)


class Callers:
    """Identifies callers. ``links`` is None if signed links are not configured."""

    def __init__(self, authenticator: Authenticator, links: SignedLinks | None) -> None:
        self._authenticator = authenticator
        self._links = links

    def of(self, request: web.BaseRequest) -> Caller:
        """Return the caller by the request's credentials and, for GET and HEAD, its signed link. Never raises."""
        request[CALLER] = caller = self._with_link(request, None)
        return caller

    def of_original(self, request: web.BaseRequest, address: Address) -> Caller:
        """Return the caller of the request that a proxy asks about, which was for ``address``. Never raises.

        The proxy passes on the credentials of that request.
        """
        request[CALLER] = caller = self._with_link(request, address)
        return caller

    def _with_link(self, request: web.BaseRequest, address: Address | None) -> Caller:
        """Return the caller, with the signed link of ``address`` if it has a link. None: the request's own address."""
        caller = self._authenticator.identify(request.headers, peer=_peer(request), method=request.method)
        if self._links is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return caller
        try:
            # The path as it was sent, because links sign the exact path.
            link = self._links.read(*(address or (request.rel_url.raw_path, request.query)))
        except BadLink as error:
            logger.debug("link rejected: %s", error)
            return replace(caller, rejected=True, reason=str(error))
        if link is None:
            return caller
        ends = link.expires_at if caller.known_until is None else min(caller.known_until, link.expires_at)
        return replace(caller, link=link, known_until=ends)


def _peer(request: web.BaseRequest) -> str | None:
    """Return the address of the socket's other end, or None if the socket is closed or a Unix socket."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else None
