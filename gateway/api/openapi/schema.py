"""Parameters, schemas and responses that the description uses repeatedly (OpenAPI 3.1)."""

from collections.abc import Mapping
from typing import Any

from gateway.api.batch import MAX_IMAGES
from gateway.catalog.image_id import PATTERN

Json = Mapping[str, Any]

IMAGE_ID: Json = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "description": "The image's id in the application's table.",
    "schema": {
        "type": "string",
        "pattern": f"^{PATTERN}$",
        "minLength": 1,
        "maxLength": 128,
        "examples": ["sunrise"],
    },
}


def query(name: str, description: str, schema: Json, example: str) -> Json:
    """Return an optional query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": {**schema, "examples": [example]}}


def header(name: str, description: str, example: str) -> Json:
    """Return an optional request header."""
    schema = {"type": "string", "examples": [example]}
    return {"name": name, "in": "header", "description": description, "schema": schema}


def object_of(**properties: Json) -> Json:
    """Return the schema of an object with exactly these properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def array_of(items: Json) -> Json:
    return {"type": "array", "items": items}


def map_of(values: Json, name: str) -> Json:
    """Return the schema of an object with any names; ``name`` is an example of one."""
    return {"type": "object", "propertyNames": {"examples": [name]}, "additionalProperties": values}


def described(schema: Json, description: str, *examples: Any) -> Json:
    """Return the schema with a description, and with examples of values if there are any."""
    return {**schema, "description": description, **({"examples": list(examples)} if examples else {})}


STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
BOOLEAN: Json = {"type": "boolean"}
TIME: Json = described(INTEGER, "in Unix seconds", 1770003600)
OPTIONAL_TIME: Json = described({"type": ["integer", "null"]}, "in Unix seconds", 1770003600)
ERROR_CODE: Json = described(STRING, "the code of the error, which stays the same", "image_not_found")
MESSAGE: Json = described(STRING, "for people", "ok")
ID: Json = {**STRING, "examples": ["sunrise"]}
IDS_BODY = object_of(
    image_ids=described({**array_of(ID), "minItems": 1, "maxItems": MAX_IMAGES}, "the ids of the images")
)
ERRORS_BY_ID: Json = described(
    map_of(ERROR_CODE, "dunes"), "for each other id, the code that a request for it alone gets"
)


def success(description: str, data: Json) -> Json:
    """Return a success response with ``data``."""
    schema = object_of(status={"const": "success"}, message=MESSAGE, data=data)
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def error(description: str) -> Json:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


# The errors of most routes for one image.
COMMON_ERRORS: Json = {
    "400": error("the id or a parameter is not valid; never cached"),
    "401": error("bad credentials"),
    "404": error("unknown, deleted or not visible to the caller, without distinction"),
    "503": error("temporarily unavailable; see Retry-After"),
}
# The errors of most routes with a body.
BODY_ERRORS: Json = {
    "408": error("the body did not arrive in time"),
    "413": error("the body is too large"),
}


def with_preflight(paths: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the paths with the CORS preflight of each."""
    return {path: {**operations, "options": _preflight(path, operations)} for path, operations in paths.items()}


def _preflight(path: str, operations: Json) -> Json:
    (first, *_) = operations.values()
    return {
        "operationId": f"{first['operationId']}Options",
        "summary": "CORS preflight.",
        "parameters": [IMAGE_ID] if "{image_id}" in path else [],
        "responses": {"204": {"description": "the requests that a page of another site may make"}},
    }
