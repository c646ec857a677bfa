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

from gateway.api.beacons import Beacon
from gateway.api.json_bodies import MAX_IMAGES
from gateway.api.links import MAX_LIFETIME
from gateway.api.static_files import document
from gateway.catalog.image_id import PATTERN
from gateway.service.ports import applications
from tests.conftest import Images, RunningGateway, StartGateway

EXAMPLES = 8
DOCUMENT = document()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def test_exactly_the_routes_are_described(gateway: RunningGateway) -> None:
    routed: dict[str, set[str]] = {}
    for route in applications(gateway.service)[0].router.routes():
        assert route.resource is not None
        routed.setdefault(route.resource.canonical, set()).add(route.method.lower())
    described = {path: methods.keys() - {"parameters"} for path, methods in DOCUMENT["paths"].items()}
    hidden = ("/static", "/api/v1/changes")  # the question of an nginx that asks the wrong port
    assert {path: methods for path, methods in routed.items() if not path.startswith(hidden)} == described


async def test_the_description_is_served(gateway: RunningGateway) -> None:
    answer = await gateway.get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["openapi"].startswith("3.1")


def test_its_limits_and_the_form_of_a_report_are_those_of_the_code() -> None:
    paths, schemas = DOCUMENT["paths"], DOCUMENT["components"]["schemas"]
    image_id = paths["/i/{image_id}"]["parameters"][0]
    assert image_id["schema"]["pattern"] == f"^{PATTERN}$"

    def body_of(path: str) -> Any:
        return paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]

    for path in ("/api/v1/images/urls", "/api/v1/images/links"):
        assert body_of(path)["image_ids"]["maxItems"] == MAX_IMAGES
    assert body_of("/api/v1/images/links")["expires_in"]["maximum"] == MAX_LIFETIME
    beacon = Beacon.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in {**beacon.pop("$defs"), "Beacon": beacon}.items():
        described = dict(schemas[name])
        assert described.pop("examples")
        assert described == schema


def test_every_address_of_an_image_takes_the_same_parameters() -> None:
    def taken(path: str, method: str) -> set[str]:
        item = DOCUMENT["paths"][path]
        parameters = [*item.get("parameters", []), *item[method].get("parameters", [])]
        return {parameter["name"] for parameter in parameters if parameter["in"] != "path"}

    for method in ("get", "head"):
        of_short = taken("/i/{image_id}", method)
        assert {"style", "r", "sig", "Range"} <= of_short
        for path in ("/a/{alias}", "/api/v1/images/{image_id}/proxy"):
            assert taken(path, method) == of_short


async def test_the_metadata_of_an_image_with_a_style_of_ratios_is_as_described(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("a")
    cover = {"process": "imageMogr2/crop/{width}x{height}", "ratios": ["2:1", "1:1"], "widths": [100]}
    gateway = await start_gateway(image_styles={"cover": cover})
    operation = schemathesis.openapi.from_dict(DOCUMENT)["/api/v1/images/{image_id}/meta"]["GET"]
    case = operation.Case(path_parameters={"image_id": "a"})
    answer = await asyncio.to_thread(case.call_and_validate, base_url=gateway.ports.public, checks=CHECKS)
    assert answer.json()["data"]["styles"]["cover"]["ratios"] == ["2:1", "1:1"]


async def test_generated_requests_get_described_responses(gateway: RunningGateway, images: Images) -> None:
    """Schemathesis: no 5xx, and every response has a described status, type and schema."""
    await images.add("a", b"x" * 1000)
    operations = [
        found.ok()  # type: ignore[union-attr]
        for found in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    ]
    assert {operation.path for operation in operations} == set(DOCUMENT["paths"])
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
