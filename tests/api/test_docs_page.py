"""``/docs`` on the admin port: the description as tables and examples."""

import json
from typing import Any

import jsonschema_rs
import pytest

from docs.generate.api_page import api_page
from docs.generate.schema_text import Field, example_of, fields_of, type_of
from gateway.api.beacon import Beacon, LoadTimes
from gateway.api.openapi.document import document
from tests.conftest import RunningGateway


async def test_every_call_is_on_the_page_and_nothing_comes_from_elsewhere(gateway: RunningGateway) -> None:
    answer = await gateway.get("/docs", admin=True)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
    text = answer.body.decode()
    for path, operations in document()["paths"].items():
        for method in operations.keys() & {"get", "head", "post", "delete"}:
            assert f"<code>{method.upper()} {path}</code>" in text
    assert "src=" not in text
    assert 'href="http' not in text


def test_text_of_the_description_is_no_markup() -> None:
    hostile = "<script>&"
    operation = {
        "summary": hostile,
        "parameters": [{"name": hostile, "in": hostile, "schema": {"type": hostile, "examples": [hostile]}}],
        "responses": {"200": {"description": hostile, "content": {hostile: {}}}},
    }
    made = api_page(
        {
            "info": {"title": hostile},
            "paths": {f'{hostile}"': {"get": operation}},
            "components": {"schemas": {hostile: {"properties": {hostile: {"description": hostile}}}}},
        }
    )
    assert "<script>" not in made
    # The title twice; path and summary twice; the call as a command; four cells of a parameter; a response and its
    # type; a schema, its field, what the field means, and the field in the example.
    assert made.count("&lt;script&gt;&amp;") == 2 + 4 + 1 + 4 + 2 + 4


def cells(page: str, name: str) -> list[list[str]]:
    """The rows of the page's tables whose first cell is ``name``, without tags."""
    rows = [row.split("</td>")[:-1] for row in page.split("<tr>") if f"<td><code>{name}</code></td>" in row]
    return [[cell.rpartition("<td>")[2].replace("<code>", "").replace("</code>", "") for cell in row] for row in rows]


def test_a_parameter_is_a_row_with_its_place_type_meaning_and_example() -> None:
    page = api_page(document())
    assert [
        "w",
        "query",
        "string, like ^[1-9][0-9]{0,4}$",
        "no",
        "Width in pixels, for a style with widths.",
        "640",
    ] in (cells(page, "w"))
    assert cells(page, "image_id")[0][1:4] == [
        "path",
        "string, 1 to 128 characters, like ^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$",
        "yes",
    ]


def test_a_body_is_a_list_of_its_fields_with_an_example() -> None:
    page = api_page(document())
    assert ["image_ids", "array of string, 1 to 200 items", "yes", "the ids of the images"] in cells(page, "image_ids")
    assert ["data.urls.*.expires_at", "integer or null", "yes", "in Unix seconds"] in cells(
        page, "data.urls.*.expires_at"
    )
    assert """curl --json '{"expires_in": 3600}' "$GATEWAY/api/v1/images/sunrise/link\"""" in page
    assert '<a href="#schema-error">Error</a>' in page
    assert '<section id="schema-error">' in page


SCHEMAS = {"Size": {"type": "object", "properties": {"width": {"type": "integer"}}}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({}, "value"),
        ({"type": "integer", "minimum": 1, "maximum": 9}, "integer, 1 to 9"),
        ({"type": "integer", "minimum": 1}, "integer, at least 1"),
        ({"type": "integer", "maximum": 9}, "integer, at most 9"),
        ({"type": ["string", "null"], "minLength": 1, "maxLength": 9}, "string or null, 1 to 9 characters"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}, "array of string, 2 items"),
        ({"enum": ["a", "b", "c"]}, "a, b or c"),
        ({"enum": ["a"]}, "a"),
        ({"const": "success"}, '"success"'),
        ({"anyOf": [{"$ref": "#/components/schemas/Size"}, {"type": "null"}]}, "Size or null"),
        ({"type": "object", "additionalProperties": False}, "object"),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"enum": ["a", "b"]}},
            "map of integer, by a or b",
        ),
    ],
)
def test_a_type_in_words(schema: dict[str, Any], text: str) -> None:
    assert type_of(schema) == text


def test_the_fields_of_an_object_are_those_of_all_objects_in_it() -> None:
    size = {**SCHEMAS["Size"], "required": ["width"]}
    schema = {
        "properties": {"one": size, "many": {"type": "array", "items": size}, "by": {"additionalProperties": size}}
    }
    assert [(field.name, field.is_required) for field in fields_of(schema)] == [
        ("one", False),
        ("one.width", True),
        ("many", False),
        ("many[].width", True),
        ("by", False),
        ("by.*.width", True),
    ]
    assert list(fields_of({"properties": {"a": {"type": "string", "description": "why"}}})) == [
        Field("a", "string", False, "why")
    ]


def schemas_in(part: Any) -> list[Any]:
    """Every schema of a parameter or a body in a part of the description."""
    if isinstance(part, dict):
        found = [part["schema"]] if "schema" in part else []
        return found + [schema for value in part.values() for schema in schemas_in(value)]
    return [schema for value in part for schema in schemas_in(value)] if isinstance(part, list) else []


def test_every_example_is_what_its_schema_describes() -> None:
    whole = document()
    components = whole["components"]["schemas"]
    schemas = [*schemas_in(json.loads(json.dumps(whole["paths"]))), *components.values()]
    assert len(schemas) > 100
    for schema in schemas:
        jsonschema_rs.validate({**schema, "components": whole["components"]}, example_of(schema, components))
    Beacon.parse(json.dumps(example_of(components["Beacon"], components)).encode())
    LoadTimes.model_validate(example_of(components["LoadTimes"], components))
