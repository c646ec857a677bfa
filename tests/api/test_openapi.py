"""The OpenAPI description equals the routes and their responses."""

import asyncio
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.api.openapi.document import PATHS, document
from gateway.service.ports import public_app
from tests.conftest import Images, RunningGateway

EXAMPLES = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def test_exactly_the_routes_are_described(gateway: RunningGateway) -> None:
    routed: dict[str, set[str]] = {}
    for route in public_app(gateway.service).router.routes():
        assert route.resource is not None
        routed.setdefault(route.resource.canonical, set()).add(route.method.lower())
    described = {path: set(methods) for path, methods in PATHS.items()}
    hidden = ("/static", "/api/v1/changes")  # the question of an nginx that asks the wrong port
    assert {path: methods for path, methods in routed.items() if not path.startswith(hidden)} == described


async def test_the_description_is_served(gateway: RunningGateway) -> None:
    answer = await gateway.get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["openapi"].startswith("3.1")


async def test_generated_requests_get_described_responses(gateway: RunningGateway, images: Images) -> None:
    """Schemathesis: no 5xx, and every response has a described status, type and schema."""
    await images.add("a", b"x" * 1000)
    operations = [
        found.ok()  # type: ignore[union-attr]
        for found in schemathesis.openapi.from_dict(document()).get_all_operations()
    ]
    assert {operation.path for operation in operations} == set(PATHS)
    for operation in operations:
        takes_input = "{" in operation.path or bool(operation.body)
        for mode in GenerationMode if takes_input else [GenerationMode.POSITIVE]:
            await asyncio.to_thread(_try, operation, mode, gateway.ports.public)


def _try(operation: schemathesis.APIOperation[Any, Any, Any, Any], mode: GenerationMode, base_url: str) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: "schemathesis.Case[Any]") -> None:
        case.call_and_validate(base_url=base_url, checks=CHECKS)

    check()
