"""Who sent this request."""

import logging
from dataclasses import replace

from aiohttp import hdrs, web

from gateway.access.identity import Authenticator, Caller
from gateway.access.signed_links import BadLink, SignedLinks

logger = logging.getLogger(__name__)


class Callers:
    """Tells who sent a request; ``links`` is None where signed links are not configured."""

    def __init__(self, authenticator: Authenticator, links: SignedLinks | None) -> None:
        self._authenticator = authenticator
        self._links = links

    def of(self, request: web.BaseRequest) -> Caller:
        """The caller by the request's credentials and, when he only reads, by a signed link; never raises."""
        caller = self._authenticator.identify(request.headers, peer=_peer(request), method=request.method)
        if self._links is None or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return caller
        try:
            # The path as it was sent: what a proxy rewrote is not what was signed.
            link = self._links.read(request.rel_url.raw_path, request.query)
        except BadLink as error:
            logger.debug("link rejected: %s", error)
            return replace(caller, rejected=True)
        return replace(caller, link=link)


def _peer(request: web.BaseRequest) -> str | None:
    """The address at the other end of the socket; None when it is closed, or no internet socket."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else None
