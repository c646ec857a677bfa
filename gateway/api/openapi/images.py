"""What can be asked of images."""

from collections.abc import Mapping

from gateway.api.batch import MOST_IMAGES
from gateway.api.link_handlers import LONGEST
from gateway.api.openapi.pieces import (
    BOOLEAN,
    COMMON_ERRORS,
    IMAGE_ID,
    INTEGER,
    MAYBE_TIME,
    STRING,
    TIME,
    Json,
    error,
    header,
    object_of,
    query,
    success,
)

_BINARY: Json = {"image/*": {}}
_IMAGE_ERRORS: Json = {
    **COMMON_ERRORS,
    "412": error("If-Match or If-Unmodified-Since does not hold"),
    "416": error("no byte of the image is in the range; Content-Range tells the size"),
    "451": error("the image store may not give the image out"),
    "422": error("the image is too large to be processed"),
    "502": error("the image store answered wrongly"),
    "504": error("the image store did not answer in time"),
}
_IMAGE_PARAMETERS = [
    IMAGE_ID,
    query("style", "A configured processing.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}),
    query("download", "Save it under this name.", {"type": "string", "minLength": 1, "maxLength": 255}),
    query(
        "redirect",
        "Answer with a redirect to the image store.",
        {"type": "string", "enum": ["true", "false", "1", "0"]},
    ),
    query("kid", "Of a signed link: which key signed it.", STRING),
    query("exp", "Of a signed link: its end, in Unix seconds.", STRING),
    query("sig", "Of a signed link: the signature.", STRING),
    header("Range", "One range of bytes (RFC 9110 section 14.2)."),
    header("If-Range", "A validator that the range depends on."),
    header("If-None-Match", "Entity tags that the client has."),
    header("If-Modified-Since", "The date of what the client has."),
]
_IMAGE_ANSWERS: Json = {
    "200": {"description": "the image, or with delivery accel the order to nginx", "content": _BINARY},
    "206": {"description": "the range", "content": _BINARY},
    "302": {"description": "with delivery redirect: where the image is for now"},
    "304": {"description": "what the client has is current"},
    **_IMAGE_ERRORS,
}


def _image(operation: str) -> Json:
    without_bodies = {code: {"description": answer["description"]} for code, answer in _IMAGE_ANSWERS.items()}
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
            "responses": without_bodies,
        },
    }


_BATCH_BODY = object_of(image_ids={"type": "array", "items": STRING, "minItems": 1, "maxItems": MOST_IMAGES})
_LINK_BODY = object_of(expires_in={"type": "integer", "minimum": 1, "maximum": LONGEST})
_BATCH_ENTRY = object_of(url=STRING, expires_at=TIME, from_cache=BOOLEAN)

_OPERATIONS: Mapping[str, Json] = {
    "/api/v1/images/{image_id}/proxy": _image("proxy"),
    "/i/{image_id}": _image("short"),
    "/api/v1/images/{image_id}/url": {
        "get": {
            "operationId": "url",
            "summary": "A presigned URL of the image.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "the URL",
                    object_of(image_id=STRING, url=STRING, expires_at=TIME, from_cache=BOOLEAN, access_count=INTEGER),
                ),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/url/refresh": {
        "post": {
            "operationId": "refresh",
            "summary": "A presigned URL made now, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success("the new URL", object_of(image_id=STRING, url=STRING, expires_at=TIME)),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/status": {
        "get": {
            "operationId": "status",
            "summary": "What is kept of the image's URL, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "the state",
                    object_of(
                        image_id=STRING,
                        cached=BOOLEAN,
                        expires_at=MAYBE_TIME,
                        refresh_due_at=MAYBE_TIME,
                        created_at=MAYBE_TIME,
                        last_access=MAYBE_TIME,
                        access_count=INTEGER,
                        refresh_count=INTEGER,
                    ),
                ),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/link": {
        "post": {
            "operationId": "link",
            "summary": "A signed link to an image of one's own, good for so many seconds.",
            "parameters": [IMAGE_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _LINK_BODY}}},
            "responses": {
                "200": success("the link", object_of(image_id=STRING, url=STRING, expires_at=TIME)),
                **COMMON_ERRORS,
                "408": error("the body did not come in time"),
                "413": error("the body is too large"),
            },
        }
    },
    "/api/v1/images/{image_id}/links": {
        "delete": {
            "operationId": "links",
            "summary": "All links to the image become worthless, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success("how often that was done", object_of(image_id=STRING, killed=INTEGER)),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/urls": {
        "post": {
            "operationId": "urls",
            "summary": f"Presigned URLs of up to {MOST_IMAGES} images.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _BATCH_BODY}}},
            "responses": {
                "200": success(
                    "a URL or the code of an error for each id",
                    object_of(
                        urls={"type": "object", "additionalProperties": _BATCH_ENTRY},
                        errors={"type": "object", "additionalProperties": STRING},
                    ),
                ),
                "400": error("the body is not valid"),
                "408": error("the body did not come in time"),
                "413": error("the body is too large"),
                "503": error("not now; Retry-After says when"),
            },
        }
    },
}


def _preflight(path: str, operations: Json) -> Json:
    (first, *_) = operations.values()
    return {
        "operationId": f"{first['operationId']}Options",
        "summary": "CORS preflight.",
        "parameters": [IMAGE_ID] if "{image_id}" in path else [],
        "responses": {"204": {"description": "what a page of another site may ask for"}},
    }


IMAGE_PATHS: Mapping[str, Json] = {
    path: {**operations, "options": _preflight(path, operations)} for path, operations in _OPERATIONS.items()
}
