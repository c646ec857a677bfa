"""Observation of requests to COS, for instance by traces: a middleware of the client session."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from multidict import istr
from yarl import URL

_REQUEST_ID: Final = istr("x-cos-request-id")

# Returns the context of a request, given its method and URL. The context gets the status and COS's request id.
ObserveRequest = Callable[[str, URL], AbstractContextManager[Callable[[int, str | None], None]]]


def observed(observe: ObserveRequest) -> ClientMiddlewareType:
    """Return a middleware that sends each request, also each retry, in a context of ``observe``."""

    async def send(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        with observe(request.method, request.url) as answered:
            response = await handler(request)
            answered(response.status, response.headers.get(_REQUEST_ID))
            return response

    return send
