"""Which pages of other sites may read responses with the credentials of their visitors (``server.cors_origins``)."""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.delivery.prepared_response import Prepared, fields
from gateway.settings import Live, ServerSettings

_EVERYBODY: Final = b"Access-Control-Allow-Origin: *\r\n"


class CorsOrigins:
    """The web origins (CORS) whose pages may send cookies. Pages of other sites read what anonymous clients get."""

    def __init__(self, settings: Live[ServerSettings]) -> None:
        self._origins = settings.map(lambda server: frozenset(server.cors_origins))

    def of(self, headers: Mapping[str, str]) -> str | None:
        """Return the listed origin of a request, "" if it has none, and None if no origin is listed."""
        origins = self._origins.value
        if not origins:
            return None
        origin = headers.get(hdrs.ORIGIN, "")
        return origin if origin in origins else ""


def allow(response: web.StreamResponse | Prepared, origin: str) -> None:
    """Allow the listed ``origin`` to send credentials. With "" the response is the same as without the list.

    Each response varies by origin: a cache must not answer a listed origin with the response to another one, which
    allows no credentials.
    """
    if isinstance(response, Prepared):
        response.own += "Vary: Origin\r\n"
        if origin:
            response.fixed = response.fixed.replace(_EVERYBODY, fields(_allowing(origin)).encode())
        return
    add_vary(response.headers, hdrs.ORIGIN)
    if origin and hdrs.ACCESS_CONTROL_ALLOW_ORIGIN in response.headers:
        response.headers.update(_allowing(origin))


def add_vary(headers: "CIMultiDict[str]", names: str) -> None:
    """Add the names of request fields to ``Vary``."""
    others = headers.get(hdrs.VARY)
    headers[hdrs.VARY] = names if others is None else f"{others}, {names}"


def _allowing(origin: str) -> Mapping[str, str]:
    return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin, hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS: "true"}
