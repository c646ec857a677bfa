"""JSON responses."""

import json

from aiohttp import web

from gateway.api.json_responses import failure, success
from gateway.errors import GatewayError, ImageNotFound, OriginUnavailable, Overloaded
from tests.conftest import RunningGateway


def body(response: web.Response) -> object:
    """Return the decoded body."""
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/json"
    return json.loads(response.body)


def test_a_success_has_its_data() -> None:
    response = success({"url": "https://图"}, "done")
    assert response.status == 200
    assert body(response) == {"status": "success", "message": "done", "data": {"url": "https://图"}}


def test_a_failure_has_its_code_and_the_request_id() -> None:
    response = failure(ImageNotFound("not the caller's"), "request-42")
    assert response.status == 404
    assert body(response) == {
        "status": "error",
        "message": "there is no such image",
        "data": {},
        "code": "image_not_found",
        "request_id": "request-42",
    }


def test_the_text_of_the_cause_is_not_in_the_response() -> None:
    assert b"secret" not in (failure(OriginUnavailable("secret"), "").body or b"")  # type: ignore[operator]
    assert b"secret" not in (failure(GatewayError("secret"), "").body or b"")  # type: ignore[operator]


def test_no_cache_stores_a_json_response() -> None:
    for response in (success({}), failure(Overloaded("x"), "")):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_failure_has_the_headers_of_its_error() -> None:
    assert failure(Overloaded("x"), "").headers["Retry-After"] == "1"


async def test_every_json_response_ends_with_a_line_break(gateway: RunningGateway) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/nowhere", "/i/nothing", "/api/v1/monitoring/stats"):
        for admin in (False, True):
            answer = await gateway.get(path, admin=admin)
            assert answer.body.endswith(b"}\n"), path
            answer.json()
