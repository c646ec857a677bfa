"""What a request carries, read within limits of size and time."""

import asyncio
import json
from typing import Any

from aiohttp import web

from gateway.errors import InvalidRequest, RequestTimeout

# The largest valid body names 200 images: that is no work even for a telephone.
_SECONDS = 10.0


async def json_body(request: web.Request) -> Any:
    """The body as JSON; raises ``InvalidRequest``, and ``RequestTimeout`` for a client that sends it by the drop.

    The application bounds the size (``client_max_size``).
    """
    try:
        async with asyncio.timeout(_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise RequestTimeout(f"no whole body within {_SECONDS:g} s") from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body must be JSON") from None
