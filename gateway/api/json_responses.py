"""The one shape of JSON answers."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.errors import GatewayError

# What one caller may know is not for a cache, and an error is over when it is over.
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def success(data: Mapping[str, Any], message: str = "ok") -> web.Response:
    """200 with ``data``."""
    return _json(200, {"status": "success", "message": message, "data": dict(data)}, {})


def failure(error: GatewayError, request_id: str) -> web.Response:
    """The answer an error asks for; the body is ours alone, whatever the cause said."""
    body = {
        "status": "error",
        "message": error.client_message,
        "data": {},
        "code": error.code,
        "request_id": request_id,
    }
    return _json(error.status, body, error.headers)


def json_text(value: Any) -> bytes:
    """JSON that ends with a line break: on a terminal, the prompt then begins on a line of its own."""
    return json.dumps(value).encode() + b"\n"


def _json(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=json_text(body),
        content_type="application/json",
        headers={**_HEADERS, **headers},
    )
