"""Answers of API 3.0: JSON. Errors have status 200, too."""

import json
from typing import Any

from aiohttp import web

REQUEST_ID = "6f1c3f2a-0d7b-4c1e-9a33-1f1f1f1f1f1f"


class ApiRefusal(Exception):
    """An error of API 3.0, sent with status 200. ``code`` is from Tencent's documents."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def api_json(answer: object) -> web.Response:
    """Return an answer without a charset, as the services do: Tencent's SDK finds errors only in this content type."""
    return web.Response(body=json.dumps(answer).encode(), content_type="application/json")


def api_error(refusal: ApiRefusal) -> web.Response:
    """Return the refusal of an action."""
    error = {"Code": refusal.code, "Message": refusal.message}
    return api_json({"Response": {"Error": error, "RequestId": REQUEST_ID}})


def parameters_of(body: bytes) -> dict[str, Any]:
    """Return the parameters of an action. Raises ``ApiRefusal``."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ApiRefusal("InvalidParameter", "The body is not JSON.")
    return found
