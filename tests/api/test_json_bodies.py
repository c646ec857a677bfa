"""JSON responses."""

import json

from aiohttp import web

from gateway.api.json_bodies import failure, success
from gateway.errors import GatewayError, Overloaded
from tests.conftest import RunningGateway


def body(response: web.Response) -> object:
    """Return the decoded body."""
    assert isinstance(response.body, bytes)
    assert response.content_type == "application/json"
    return json.loads(response.body)


def test_a_success_has_its_data_and_a_failure_its_code_its_fields_and_no_text_of_its_cause() -> None:
    done = success({"url": "https://图"}, "done")
    assert (done.status, body(done)) == (200, {"status": "success", "message": "done", "data": {"url": "https://图"}})
    failed = failure(Overloaded("secret"), "request-42")
    assert failed.status == 503
    assert body(failed) == {
        "status": "error",
        "message": "too many images are being sent, try again in a moment",
        "data": {},
        "code": "overloaded",
        "request_id": "request-42",
    }
    assert failed.headers["Retry-After"] == "1"
    assert b"secret" not in (failure(GatewayError("secret"), "").body or b"")  # type: ignore[operator]
    for response in (done, failed):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_json_response_ends_with_a_line_break(gateway: RunningGateway) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/nowhere", "/i/nothing", "/api/v1/monitoring/stats"):
        for admin in (False, True):
            answer = await gateway.get(path, admin=admin)
            assert answer.body.endswith(b"}\n"), path
            answer.json()
