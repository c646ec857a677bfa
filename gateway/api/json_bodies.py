"""JSON: bodies of requests, read within limits of size and time, and the two shapes of responses."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from gateway.catalog.image_id import parse_image_id
from gateway.errors import GatewayError, InvalidImageId, InvalidRequest, PayloadTooLarge, RequestTimeout

MAX_IMAGES: Final = 200  # in a request
# Of an application: the seconds for the body of a request, if they are less than ten.
TIME_LIMIT: Final = web.AppKey("time_limit", float)
# The largest valid body names 200 images, which a telephone sends within this time.
_LONGEST: Final = 10.0  # seconds
# Responses are for one caller only, and a cache must not repeat an error that is over.
_NO_STORE = {"Cache-Control": "no-store"}
HEADERS = {**_NO_STORE, "X-Content-Type-Options": "nosniff"}


def json_in(body: bytes) -> Any:
    """Return the body as JSON. Raises ``InvalidRequest``."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("the body must be JSON") from None


async def read_json(request: web.Request) -> Any:
    """Return the body as JSON. Raises ``InvalidRequest``, and what ``read_body`` raises."""
    return json_in(await read_body(request))


async def read_body(request: web.Request) -> bytes:
    """Return the body, whose time and size the application limits (``TIME_LIMIT``, ``client_max_size``).

    Raises ``PayloadTooLarge``, ``RequestTimeout``, or ``InvalidRequest`` if it is malformed.
    """
    seconds = min(_LONGEST, request.app.get(TIME_LIMIT, _LONGEST))
    try:
        async with asyncio.timeout(seconds):
            return await request.read()
    except TimeoutError:
        raise RequestTimeout(f"no complete body within {seconds:g} s") from None
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


def success(data: Mapping[str, Any], message: str = "ok") -> web.Response:
    """Return 200 with ``data``."""
    return json_response(200, {"status": "success", "message": message, "data": dict(data)}, HEADERS)


def failure(error: GatewayError, request_id: str) -> web.Response:
    """Return the response for ``error``. The body never contains the text of its cause."""
    body = {"status": "error", "message": error.message, "data": {}, "code": error.code, "request_id": request_id}
    return json_response(error.status, body, {**HEADERS, **error.headers})


def json_text(value: Any) -> bytes:
    """Return ``value`` as JSON with a final line break, so that a terminal's prompt starts on a new line."""
    return json.dumps(value).encode() + b"\n"


def json_response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] = _NO_STORE) -> web.Response:
    return web.Response(status=status, body=json_text(body), content_type="application/json", headers=headers)
