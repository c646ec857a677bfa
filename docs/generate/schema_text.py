"""Schemas for readers: the type of a value in words, the fields of an object, and an example (JSON Schema 2020-12).

These are the keywords that the description uses; a schema with others is a "value" without an example of its own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from gateway.api.openapi.schema import Json

_REFERENCE: Final = "#/components/schemas/"
_EXAMPLES: Final[Mapping[str, Any]] = {
    "array": [],
    "boolean": True,
    "integer": 1,
    "null": None,
    "number": 1.5,
    "object": {},
    "string": "text",
}


class Field(NamedTuple):
    """A field of an object.

    ``name`` is the path to it: ``urls.*.url`` is in each value of ``urls``, and ``rows[].id`` in each item of ``rows``.
    """

    name: str
    type: str
    is_required: bool
    meaning: str


def type_of(schema: Json) -> str:
    """Return the type of a value with its limits, such as "integer, 1 to 604800"."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return _either(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return _either(type_of(one) for one in schema["anyOf"])
    names = schema.get("type", "value")
    text = names if isinstance(names, str) else _either(names)
    if "items" in schema:
        text += f" of {type_of(schema['items'])}"
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        text = f"map of {type_of(values)}"
        if "enum" in (keys := schema.get("propertyNames", {})):
            text += f", by {type_of(keys)}"
    return ", ".join([text, *_limits(schema)])


def _either(choices: Iterable[str]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last


def _limits(schema: Json) -> Iterator[str]:
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        low, high = schema.get(least), schema.get(most)
        if low is not None and high is not None:
            yield f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
        elif low is not None:
            yield f"at least {low}{unit}"
        elif high is not None:
            yield f"at most {high}{unit}"
    if "pattern" in schema:
        yield f"like {schema['pattern']}"


def fields_of(schema: Json, path: str = "") -> Iterator[Field]:
    """Yield the fields of an object and of the objects in it; none for another value, or for a reference."""
    required = schema.get("required", ())
    for name, value in schema.get("properties", {}).items():
        yield Field(f"{path}{name}", type_of(value), name in required, value.get("description", ""))
        yield from fields_of(value, f"{path}{name}.")
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        yield from fields_of(values, f"{path}*.")
    if "items" in schema:
        yield from fields_of(schema["items"], f"{path.removesuffix('.')}[].")


def example_of(schema: Json, schemas: Mapping[str, Json]) -> Any:
    """Return a value that the schema allows: its own example, or one made of its parts.

    ``schemas`` are those that it may refer to, by name.
    """
    if "$ref" in schema:
        return example_of(schemas[type_of(schema)], schemas)
    if examples := schema.get("examples"):
        return examples[0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas)
    if "properties" in schema:
        return {name: example_of(value, schemas) for name, value in schema["properties"].items()}
    if isinstance(values := schema.get("additionalProperties"), Mapping):
        return {example_of(schema.get("propertyNames", {"const": "name"}), schemas): example_of(values, schemas)}
    if "items" in schema:
        return [example_of(schema["items"], schemas)] * max(1, schema.get("minItems", 1))
    names = schema.get("type", "null")
    return _EXAMPLES[names if isinstance(names, str) else names[0]]
