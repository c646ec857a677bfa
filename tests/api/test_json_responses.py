"""The one shape of JSON answers."""

import json

from aiohttp import web

from gateway.api.json_responses import failure, success
from gateway.errors import GatewayError, ImageNotFound, OriginUnavailable, Overloaded
from tests.conftest import RunningGateway


def body(response: web.Response) -> object:
    """What the client reads."""
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/json"
    return json.loads(response.body)


def test_a_success_carries_its_data() -> None:
    response = success({"url": "https://图"}, "done")
    assert response.status == 200
    assert body(response) == {"status": "success", "message": "done", "data": {"url": "https://图"}}


def test_a_failure_carries_its_code_and_the_requests_id() -> None:
    response = failure(ImageNotFound("not the caller's"), "request-42")
    assert response.status == 404
    assert body(response) == {
        "status": "error",
        "message": "there is no such image",
        "data": {},
        "code": "image_not_found",
        "request_id": "request-42",
    }


def test_what_the_cause_said_stays_inside() -> None:
    assert b"secret" not in (failure(OriginUnavailable("secret"), "").body or b"")  # type: ignore[operator]
    assert b"secret" not in (failure(GatewayError("secret"), "").body or b"")  # type: ignore[operator]


def test_no_cache_keeps_an_answer() -> None:
    for response in (success({}), failure(Overloaded("x"), "")):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_failure_carries_the_headers_it_must() -> None:
    assert failure(Overloaded("x"), "").headers["Retry-After"] == "1"


async def test_every_json_answer_ends_with_a_line_break(gateway: RunningGateway) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/nowhere", "/i/nothing", "/api/v1/monitoring/stats"):
        for admin in (False, True):
            answer = await gateway.get(path, admin=admin)
            assert answer.body.endswith(b"}\n"), path
            answer.json()
