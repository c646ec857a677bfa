"""JSON request bodies, read within limits of size and time."""

import asyncio
import json
from typing import Any

from aiohttp import web

from gateway.errors import InvalidRequest, PayloadTooLarge, RequestTimeout

# The largest valid body names 200 images, which a telephone sends within this time.
_TIME_LIMIT = 10.0  # seconds


def json_in(body: bytes) -> Any:
    """Return the body as JSON. Raises ``InvalidRequest``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body must be JSON") from None


class Bodies:
    """Reads bodies, each within ten seconds, or within ``keepalive_timeout`` seconds if that is less.

    The application limits the size (``client_max_size``).
    """

    def __init__(self, keepalive_timeout: float) -> None:
        self._seconds = min(_TIME_LIMIT, keepalive_timeout)

    async def json(self, request: web.Request) -> Any:
        """Return the body as JSON. Raises ``InvalidRequest``, and what ``read`` raises."""
        return json_in(await self.read(request))

    async def read(self, request: web.Request) -> bytes:
        """Return the body.

        Raises ``PayloadTooLarge``; ``RequestTimeout`` if the body does not arrive in time; ``InvalidRequest`` if it
        cannot be read.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await request.read()
        except TimeoutError:
            raise RequestTimeout(f"no complete body within {self._seconds:g} s") from None
        except web.HTTPRequestEntityTooLarge:
            raise PayloadTooLarge from None
        except web.RequestPayloadError:
            raise InvalidRequest("the body cannot be read") from None
