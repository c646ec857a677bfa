"""``GET /openapi.json``: the routes of the public port, one entry in ``PATHS`` each.

Describe a new route in ``PATHS``, or in the module of images, URLs or beacons; a test compares this table with
the router.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from aiohttp import web

from gateway.api.openapi.beacons import BEACON_PATHS, BEACON_SCHEMAS
from gateway.api.openapi.images import IMAGE_PATHS
from gateway.api.openapi.schema import ERROR_CODE, STRING, Json, described, map_of, object_of
from gateway.api.openapi.urls import URL_PATHS

_READINESS = object_of(
    status=described(
        {"enum": ["ready", "degraded", "not_ready"]}, "degraded: it serves, and a dependency is degraded or down"
    ),
    checks=described(
        map_of({"enum": ["ok", "degraded", "down"]}, "redis"),
        "by the name of the dependency; degraded: it answers, and refuses a part of what requests need",
    ),
)

PATHS: Mapping[str, Json] = {
    **IMAGE_PATHS,
    **URL_PATHS,
    **BEACON_PATHS,
    "/healthz": {
        "get": {
            "operationId": "healthz",
            "summary": "Liveness.",
            "responses": {
                "200": {
                    "description": "alive",
                    "content": {"application/json": {"schema": object_of(status={"const": "alive"})}},
                }
            },
        },
        "head": {
            "operationId": "healthzHead",
            "summary": "Liveness, without a body.",
            "responses": {"200": {"description": "alive"}},
        },
    },
    "/readyz": {
        "get": {
            "operationId": "readyz",
            "summary": "Readiness.",
            "responses": {
                code: {"description": description, "content": {"application/json": {"schema": _READINESS}}}
                for code, description in {
                    "200": "ready or degraded",
                    "503": "not ready, or draining",
                }.items()
            },
        },
        "head": {
            "operationId": "readyzHead",
            "summary": "Readiness, without a body.",
            "responses": {"200": {"description": "ready or degraded"}, "503": {"description": "not ready"}},
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
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "image gateway",
            "version": "1",
            "description": "A permanent address for each private image in Tencent COS.",
        },
        "paths": PATHS,
        "components": {
            "schemas": {
                **BEACON_SCHEMAS,
                "Error": object_of(
                    status={"const": "error"},
                    message=described(STRING, "for people", "the image does not exist"),
                    data=described({"type": "object"}, "empty"),
                    code=ERROR_CODE,
                    request_id=described(STRING, "X-Request-Id, which the log has", "0c54a6e1b0d3f7a2"),
                ),
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{}, {"bearer": []}],
    }


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return json.dumps(document()).encode() + b"\n"


async def openapi(request: web.Request) -> web.Response:
    del request
    return web.Response(
        body=_encoded(),
        content_type="application/json",
        headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"},
    )
