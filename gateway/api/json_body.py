"""JSON request bodies, read within limits of size and time."""

import asyncio
import json
from typing import Any

from aiohttp import web

from gateway.api.app_keys import SETTINGS
from gateway.errors import InvalidRequest, PayloadTooLarge, RequestTimeout

# The largest valid body names 200 images, which a telephone sends within this time.
_TIME_LIMIT = 10.0  # seconds


async def json_body(request: web.Request) -> Any:
    """Return the body as JSON; raises ``InvalidRequest``, and what ``read_body`` raises.

    The application limits the size (``client_max_size``).
    """
    return json_in(await read_body(request))


def json_in(body: bytes) -> Any:
    """Return the body as JSON; raises ``InvalidRequest``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body must be JSON") from None


async def read_body(request: web.Request) -> bytes:
    """Return the body.

    Raises ``PayloadTooLarge``; ``RequestTimeout`` if the body does not arrive in time; ``InvalidRequest`` if it cannot
    be read.
    """
    seconds = min(_TIME_LIMIT, request.app[SETTINGS].server.keepalive_timeout)
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise RequestTimeout(f"no complete body within {seconds:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge from None
    except web.RequestPayloadError:
        raise InvalidRequest("the body cannot be read") from None
