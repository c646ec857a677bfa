"""The pieces that the description is made of (OpenAPI 3.1)."""

from collections.abc import Mapping
from typing import Any

from gateway.catalog.image_id import PATTERN

Json = Mapping[str, Any]

IMAGE_ID: Json = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "description": "The image's id in the application's table.",
    "schema": {"type": "string", "pattern": f"^{PATTERN}$", "minLength": 1, "maxLength": 128},
}


def query(name: str, description: str, schema: Json) -> Json:
    """A parameter of the query that may be left out."""
    return {"name": name, "in": "query", "description": description, "schema": schema}


def header(name: str, description: str) -> Json:
    """A request header that may be left out."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def object_of(**properties: Json) -> Json:
    """The schema of an object with these properties, all of them and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
BOOLEAN: Json = {"type": "boolean"}
TIME: Json = {"type": "integer", "description": "Unix seconds"}
MAYBE_TIME: Json = {"type": ["integer", "null"], "description": "Unix seconds"}


def success(description: str, data: Json) -> Json:
    """An answer in the usual shape, with ``data`` in it."""
    schema = object_of(status={"const": "success"}, message=STRING, data=data)
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def error(description: str) -> Json:
    """An answer in the shape of every error."""
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


# What most addresses of one image may answer.
COMMON_ERRORS: Json = {
    "400": error("the id or a parameter is not valid; never cached"),
    "401": error("bad credentials"),
    "404": error("unknown, deleted or not the caller's: one and the same answer"),
    "503": error("not now; Retry-After says when"),
}
