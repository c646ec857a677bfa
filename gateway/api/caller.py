"""Who sent this request."""

from aiohttp import web

from gateway.access.identity import Caller
from gateway.api.keys import AUTHENTICATOR


def caller_of(request: web.Request) -> Caller:
    """The caller by the request's credentials; never raises."""
    return request.app[AUTHENTICATOR].identify(request.headers)
