"""The description of the routes for signed links."""

from collections.abc import Mapping

from gateway.api.batch import MAX_IMAGES
from gateway.api.link_handlers import MAX_LIFETIME
from gateway.api.openapi.schema import (
    COMMON_ERRORS,
    ERRORS_BY_ID,
    ID,
    IDS_BODY,
    IMAGE_ID,
    INTEGER,
    STRING,
    TIME,
    Json,
    described,
    error,
    map_of,
    object_of,
    success,
    with_preflight,
)

_LINK_BODY = object_of(
    expires_in=described({"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME}, "the link's life in seconds", 3600)
)
_LINK_BATCH_BODY = object_of(**IDS_BODY["properties"], **_LINK_BODY["properties"])
_LINK: Json = described(
    STRING,
    "the path and query of the signed link",
    "/i/sunrise?kid=2026&exp=1770003600&sig=hV6E2kUxA4rXFbP0oQXq1nT9gk2m3s8cJ7dWl5yZt0A",
)
_LINK_BATCH_ENTRY = object_of(url=_LINK, expires_at=TIME)

_OPERATIONS: Mapping[str, Json] = {
    "/api/v1/images/{image_id}/link": {
        "post": {
            "operationId": "link",
            "summary": "A signed link to an image of the caller's own.",
            "description": "The link opens every style of the image, since the signature covers path and expiry only.",
            "parameters": [IMAGE_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _LINK_BODY}}},
            "responses": {
                "200": success("the link", object_of(image_id=ID, url=_LINK, expires_at=TIME)),
                **COMMON_ERRORS,
                "408": error("the body did not arrive in time"),
                "413": error("the body is too large"),
            },
        }
    },
    "/api/v1/images/{image_id}/links": {
        "delete": {
            "operationId": "links",
            "summary": "Invalidate all links to the image, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "how often links were invalidated",
                    object_of(image_id=ID, killed=described(INTEGER, "how often, this time included", 1)),
                ),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/links": {
        "post": {
            "operationId": "makeLinks",
            "summary": f"Signed links to up to {MAX_IMAGES} images of the caller's own.",
            "description": "A link opens every style of its image, since the signature covers path and expiry only.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _LINK_BATCH_BODY}}},
            "responses": {
                "200": success(
                    "a link or the code of an error for each id",
                    object_of(
                        links=described(map_of(_LINK_BATCH_ENTRY, "sunrise"), "by the image's id"), errors=ERRORS_BY_ID
                    ),
                ),
                "400": error("the body is not valid"),
                "404": error("signed links are not configured"),
                "408": error("the body did not arrive in time"),
                "413": error("the body is too large"),
            },
        }
    },
}


LINK_PATHS: Mapping[str, Json] = with_preflight(_OPERATIONS)
