"""``GET /openapi.json``: the public port's addresses, one entry in ``PATHS`` each (OpenAPI 3.1).

To describe a new address, add it to ``PATHS``; a test holds this table and the router equal.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from aiohttp import web

Json = Mapping[str, Any]

_IMAGE_ID: Json = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "description": "The image's id in the application's table.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$", "minLength": 1, "maxLength": 128},
}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _header(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_STRING: Json = {"type": "string"}
_INTEGER: Json = {"type": "integer"}
_BOOLEAN: Json = {"type": "boolean"}
_TIME: Json = {"type": "integer", "description": "Unix seconds"}
_MAYBE_TIME: Json = {"type": ["integer", "null"], "description": "Unix seconds"}


def _success(description: str, data: Json) -> Json:
    schema = _object(status={"const": "success"}, message=_STRING, data=data)
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error(description: str) -> Json:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


_BINARY: Json = {"image/*": {}}
_NO_STORE = "never cached"
_COMMON_ERRORS: Json = {
    "400": _error(f"the id or a parameter is not valid; {_NO_STORE}"),
    "401": _error("bad credentials"),
    "404": _error("unknown, deleted or not the caller's: one and the same answer"),
    "503": _error("not now; Retry-After says when"),
}
_IMAGE_ERRORS: Json = {
    **_COMMON_ERRORS,
    "412": _error("If-Match or If-Unmodified-Since does not hold"),
    "416": _error("no byte of the image is in the range; Content-Range tells the size"),
    "502": _error("the image store answered wrongly"),
    "504": _error("the image store did not answer in time"),
}
_IMAGE_PARAMETERS = [
    _IMAGE_ID,
    _query("style", "A configured processing.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}),
    _query("download", "Save it under this name.", {"type": "string", "minLength": 1, "maxLength": 255}),
    _query(
        "redirect",
        "Answer with a redirect to the image store.",
        {"type": "string", "enum": ["true", "false", "1", "0"]},
    ),
    _query("kid", "Of a signed link: which key signed it.", _STRING),
    _query("exp", "Of a signed link: its end, in Unix seconds.", _STRING),
    _query("sig", "Of a signed link: the signature.", _STRING),
    _header("Range", "One range of bytes (RFC 9110 section 14.2)."),
    _header("If-Range", "A validator that the range depends on."),
    _header("If-None-Match", "Entity tags that the client has."),
    _header("If-Modified-Since", "The date of what the client has."),
]
_IMAGE_ANSWERS: Json = {
    "200": {"description": "the image, or with delivery accel the order to nginx", "content": _BINARY},
    "206": {"description": "the range", "content": _BINARY},
    "302": {"description": "with delivery redirect: where the image is for now"},
    "304": {"description": "what the client has is current"},
    **_IMAGE_ERRORS,
}


def _image(operation: str) -> Json:
    head = {
        code: {"description": answer["description"]} for code, answer in _IMAGE_ANSWERS.items()
    }  # the same without bodies
    return {
        "get": {
            "operationId": f"{operation}Get",
            "summary": "The image.",
            "parameters": _IMAGE_PARAMETERS,
            "responses": _IMAGE_ANSWERS,
        },
        "head": {
            "operationId": f"{operation}Head",
            "summary": "The image's headers.",
            "parameters": _IMAGE_PARAMETERS,
            "responses": head,
        },
        "options": {
            "operationId": f"{operation}Options",
            "summary": "CORS preflight.",
            "parameters": [_IMAGE_ID],
            "responses": {"204": {"description": "what a page may send"}},
        },
    }


_BATCH_BODY = _object(image_ids={"type": "array", "items": _STRING, "minItems": 1, "maxItems": 200})
_LINK_BODY = _object(expires_in={"type": "integer", "minimum": 1, "maximum": 604_800})
_BATCH_ENTRY = _object(url=_STRING, expires_at=_TIME, from_cache=_BOOLEAN)
_READINESS = _object(
    status={"enum": ["ready", "degraded", "not_ready"]},
    checks={"type": "object", "additionalProperties": {"enum": ["ok", "down"]}},
)

PATHS: Mapping[str, Json] = {
    "/api/v1/images/{image_id}/proxy": _image("proxy"),
    "/i/{image_id}": _image("short"),
    "/api/v1/images/{image_id}/url": {
        "get": {
            "operationId": "url",
            "summary": "A presigned URL of the image.",
            "parameters": [_IMAGE_ID],
            "responses": {
                "200": _success(
                    "the URL",
                    _object(
                        image_id=_STRING, url=_STRING, expires_at=_TIME, from_cache=_BOOLEAN, access_count=_INTEGER
                    ),
                ),
                **_COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/url/refresh": {
        "post": {
            "operationId": "refresh",
            "summary": "A presigned URL made now, for the owner.",
            "parameters": [_IMAGE_ID],
            "responses": {
                "200": _success("the new URL", _object(image_id=_STRING, url=_STRING, expires_at=_TIME)),
                **_COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/status": {
        "get": {
            "operationId": "status",
            "summary": "What is kept of the image's URL, for the owner.",
            "parameters": [_IMAGE_ID],
            "responses": {
                "200": _success(
                    "the state",
                    _object(
                        image_id=_STRING,
                        cached=_BOOLEAN,
                        expires_at=_MAYBE_TIME,
                        refresh_due_at=_MAYBE_TIME,
                        created_at=_MAYBE_TIME,
                        last_access=_MAYBE_TIME,
                        access_count=_INTEGER,
                        refresh_count=_INTEGER,
                    ),
                ),
                **_COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/link": {
        "post": {
            "operationId": "link",
            "summary": "A signed link to an image of one's own, good for so many seconds.",
            "parameters": [_IMAGE_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _LINK_BODY}}},
            "responses": {
                "200": _success("the link", _object(image_id=_STRING, url=_STRING, expires_at=_TIME)),
                **_COMMON_ERRORS,
                "408": _error("the body did not come in time"),
                "413": _error("the body is too large"),
            },
        }
    },
    "/api/v1/images/{image_id}/links": {
        "delete": {
            "operationId": "links",
            "summary": "All links to the image become worthless, for the owner.",
            "parameters": [_IMAGE_ID],
            "responses": {
                "200": _success("how often that was done", _object(image_id=_STRING, killed=_INTEGER)),
                **_COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/urls": {
        "post": {
            "operationId": "urls",
            "summary": "Presigned URLs of up to 200 images.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _BATCH_BODY}}},
            "responses": {
                "200": _success(
                    "a URL or the code of an error for each id",
                    _object(
                        urls={"type": "object", "additionalProperties": _BATCH_ENTRY},
                        errors={"type": "object", "additionalProperties": _STRING},
                    ),
                ),
                "400": _error("the body is not valid"),
                "408": _error("the body did not come in time"),
                "413": _error("the body is too large"),
                "503": _error("not now; Retry-After says when"),
            },
        }
    },
    "/healthz": {
        "get": {
            "operationId": "healthz",
            "summary": "Alive.",
            "responses": {
                "200": {
                    "description": "alive",
                    "content": {"application/json": {"schema": _object(status={"const": "alive"})}},
                }
            },
        },
        "head": {"operationId": "healthzHead", "responses": {"200": {"description": "alive"}}},
    },
    "/readyz": {
        "get": {
            "operationId": "readyz",
            "summary": "Whether it can serve.",
            "responses": {
                code: {"description": what, "content": {"application/json": {"schema": _READINESS}}}
                for code, what in {"200": "it can", "503": "it cannot, or is draining"}.items()
            },
        },
        "head": {
            "operationId": "readyzHead",
            "responses": {"200": {"description": "it can"}, "503": {"description": "it cannot"}},
        },
    },
    "/openapi.json": {
        "get": {
            "operationId": "openapi",
            "summary": "This description.",
            "responses": {
                "200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "image gateway",
            "version": "1",
            "description": "One address that never expires for each private image in Tencent COS.",
        },
        "paths": PATHS,
        "components": {
            "schemas": {
                "Error": _object(
                    status={"const": "error"},
                    message=_STRING,
                    data={"type": "object"},
                    code=_STRING,
                    request_id=_STRING,
                )
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{}, {"bearer": []}],
    }


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return json.dumps(document()).encode()


async def openapi(request: web.Request) -> web.Response:
    """The description, for tools."""
    del request
    return web.Response(
        body=_encoded(),
        content_type="application/json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"},
    )
