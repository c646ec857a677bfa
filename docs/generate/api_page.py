"""The page of the public port's addresses that the admin port serves: OpenAPI as tables and examples."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from docs.generate.html_elements import Content, element, link, page, table
from docs.generate.schema_text import example_of, fields_of, type_of
from gateway.api.openapi.schema import Json

Schemas = Mapping[str, Json]

_METHODS: Final = ("get", "head", "post", "delete")
_JSON: Final = "application/json"


def api_page(described: Mapping[str, Any]) -> str:
    """Return the HTML of the page."""
    info, schemas = described["info"], described["components"]["schemas"]
    calls = [
        (method, path, methods)
        for path, methods in described["paths"].items()
        for method in _METHODS
        if method in methods
    ]
    contents = (
        element("li", link(f"#{_anchor(method, path)}", _name(method, path)), f" {methods[method].get('summary', '')}")
        for method, path, methods in calls
    )
    return page(
        info["title"],
        "console/console.css",
        element("h1", info["title"]),
        element("p", f"{info.get('description', '')} In the examples, GATEWAY is the address of the public port."),
        element("p", link("./", "Console"), " · ", link("docs/errors", "Error codes")),
        element("ul", *contents),
        *(_section(method, path, methods, schemas) for method, path, methods in calls),
        element("h2", "Schemas"),
        *(_schema(name, schema, schemas) for name, schema in schemas.items()),
    )


def _section(method: str, path: str, methods: Json, schemas: Schemas) -> Element:
    """Return the description of one call; ``methods`` are the operations of its path."""
    operation = methods[method]
    parameters, body = operation.get("parameters", ()), operation.get("requestBody", {}).get("content", {})
    made = element("section", element("h2", _name(method, path)), id=_anchor(method, path))
    made.extend(element("p", operation[text]) for text in ("summary", "description") if text in operation)
    if parameters and method == "head" and parameters == methods.get("get", {}).get("parameters"):
        made.append(element("p", "Parameters: those of ", link(f"#{_anchor('get', path)}", _name("get", path)), "."))
    elif parameters:
        made.extend((element("h3", "Parameters"), _parameters(parameters)))
    if body:
        made.extend((element("h3", "Body"), element("p", *_media_types(body))))
        made.extend(_json_content(body, schemas))
    made.append(element("pre", _command(method, path, operation, schemas)))
    made.extend((element("h3", "Responses"), _responses(operation["responses"])))
    for status, response in operation["responses"].items():
        if status.startswith("2") and (fields := list(_json_content(response.get("content", {}), schemas))):
            made.extend((element("h4", f"The body of {status}"), *fields))
    return made


def _parameters(parameters: Iterable[Json]) -> Element:
    rows = (
        (
            element("code", one["name"]),
            one["in"],
            type_of(one["schema"]),
            _yes_or_no(one.get("required", False)),
            one.get("description", ""),
            str(next(iter(one["schema"].get("examples", ())), "")),
        )
        for one in parameters
    )
    return table(("name", "in", "type", "required", "meaning", "example"), rows)


def _responses(responses: Json) -> Element:
    rows = (
        (
            element("code", status),
            "; ".join([one["description"], *_header_fields(one.get("headers", {}))]),
            element("span", *_media_types(one.get("content", {}))),
        )
        for status, one in sorted(responses.items())
    )
    return table(("status", "meaning", "body"), rows)


def _header_fields(headers: Json) -> Iterator[str]:
    return (f"{name}: {field['description']}" for name, field in headers.items())


def _media_types(content: Json) -> Iterator[Content]:
    """Yield the media types of a body, each with the schema that it refers to."""
    for number, (media_type, media) in enumerate(content.items()):
        yield f"{', ' if number else ''}{media_type}"
        if "$ref" in (schema := media.get("schema", {})):
            yield " "
            yield link(f"#{_anchor('schema', type_of(schema))}", type_of(schema))


def _json_content(content: Json, schemas: Schemas) -> Iterator[Element]:
    """Yield the fields of a body in JSON and an example; nothing for another body, or one that refers to a schema."""
    yield from _fields(content.get(_JSON, {}).get("schema", {}), schemas)


def _schema(name: str, schema: Json, schemas: Schemas) -> Element:
    made = element("section", element("h3", element("code", name)), id=_anchor("schema", name))
    if "description" in schema:
        made.append(element("p", schema["description"]))
    made.extend(_fields(schema, schemas))
    return made


def _fields(schema: Json, schemas: Schemas) -> Iterator[Element]:
    rows = [
        (element("code", field.name), field.type, _yes_or_no(field.is_required), field.meaning)
        for field in fields_of(schema)
    ]
    if rows:
        yield table(("name", "type", "required", "meaning"), rows)
        yield element("pre", json.dumps(example_of(schema, schemas), indent=2, ensure_ascii=False))


def _command(method: str, path: str, operation: Json, schemas: Schemas) -> str:
    """Return the call as a command for a shell."""
    for one in operation.get("parameters", ()):
        path = path.replace(f"{{{one['name']}}}", str(example_of(one["schema"], schemas)))
    schema = operation.get("requestBody", {}).get("content", {}).get(_JSON, {}).get("schema")
    if schema is not None:  # --json makes it a POST
        option = f" --json '{json.dumps(example_of(schema, schemas))}'"
    else:
        option = {"get": "", "head": " --head"}.get(method, f" -X {method.upper()}")
    return f'curl{option} "$GATEWAY{path}"'


def _name(method: str, path: str) -> Element:
    return element("code", f"{method.upper()} {path}")


def _anchor(*words: str) -> str:
    return re.sub("[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def _yes_or_no(is_true: bool) -> str:
    return "yes" if is_true else "no"
