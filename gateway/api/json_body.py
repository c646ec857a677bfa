"""JSON request bodies, read within limits of size and time, and the image ids that they name."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidImageId, InvalidRequest, PayloadTooLarge, RequestTimeout

MAX_IMAGES: Final = 200  # in a request
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


def image_ids_in(body: Any) -> list[str]:
    """Return the ``image_ids`` of a body, each not yet validated. Raises ``InvalidRequest``."""
    image_ids = body.get("image_ids") if isinstance(body, dict) else None
    if not isinstance(image_ids, list) or not all(isinstance(image_id, str) for image_id in image_ids):
        raise InvalidRequest('the body must be {"image_ids": ["…"]}')
    if not 1 <= len(image_ids) <= MAX_IMAGES:
        raise InvalidRequest(f"image_ids must name 1 to {MAX_IMAGES} images")
    return image_ids


def validated(image_ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Return the ids that are valid, and the error code of each that is not."""
    valid: list[str] = []
    errors: dict[str, str] = {}
    for image_id in image_ids:
        try:
            valid.append(parse_image_id(image_id))
        except InvalidImageId as error:
            errors[image_id] = error.code
    return valid, errors
