"""What a request carries, read within limits of size and time."""

import asyncio
import json
from typing import Any

from aiohttp import web

from gateway.api.app_keys import SETTINGS
from gateway.errors import InvalidRequest, RequestTimeout

# The largest valid body names 200 images: that takes a telephone no longer.
_SECONDS = 10.0


async def json_body(request: web.Request) -> Any:
    """The body as JSON; raises ``InvalidRequest``, and ``RequestTimeout`` for a client that sends it by the drop.

    The application bounds the size (``client_max_size``).
    """
    seconds = min(_SECONDS, request.app[SETTINGS].server.keepalive_timeout)
    try:
        async with asyncio.timeout(seconds):
            body = await request.read()
    except TimeoutError:
        raise RequestTimeout(f"no whole body within {seconds:g} s") from None
    except web.RequestPayloadError:
        raise InvalidRequest("the body cannot be read") from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body must be JSON") from None
