"""JSON responses: a shape for successes, and a shape for errors."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.errors import GatewayError

# Responses are for one caller only, and a cache must not repeat an error that is over.
_NO_STORE = {"Cache-Control": "no-store"}
HEADERS = {**_NO_STORE, "X-Content-Type-Options": "nosniff"}


def success(data: Mapping[str, Any], message: str = "ok") -> web.Response:
    """Return 200 with ``data``."""
    return json_response(200, {"status": "success", "message": message, "data": dict(data)}, HEADERS)


def failure(error: GatewayError, request_id: str) -> web.Response:
    """Return the response for ``error``. The body never contains the text of its cause."""
    body = {
        "status": "error",
        "message": error.message,
        "data": {},
        "code": error.code,
        "request_id": request_id,
    }
    return json_response(error.status, body, {**HEADERS, **error.headers})


def json_text(value: Any) -> bytes:
    """Return ``value`` as JSON with a final line break, so that a terminal's prompt starts on a new line."""
    return json.dumps(value).encode() + b"\n"


def json_response(status: int, body: Mapping[str, Any], headers: Mapping[str, str] = _NO_STORE) -> web.Response:
    return web.Response(status=status, body=json_text(body), content_type="application/json", headers=headers)
