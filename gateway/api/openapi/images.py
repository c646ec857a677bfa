"""The description of the routes for images."""

from collections.abc import Mapping

from gateway.api.batch import MAX_IMAGES
from gateway.api.link_handlers import MAX_LIFETIME
from gateway.api.openapi.schema import (
    BOOLEAN,
    COMMON_ERRORS,
    IMAGE_ID,
    INTEGER,
    OPTIONAL_TIME,
    STRING,
    TIME,
    Json,
    error,
    header,
    object_of,
    query,
    success,
    with_preflight,
)

_BINARY: Json = {"image/*": {}}
_IMAGE_ERRORS: Mapping[str, Json] = {
    **COMMON_ERRORS,
    "412": error("If-Match or If-Unmodified-Since is false"),
    "416": error("the image has no bytes in the range; Content-Range has the size"),
    "451": error("the image is blocked for legal reasons"),
    "422": error("the image is too large to be processed"),
    "502": error("the image store did not respond properly"),
    "504": error("the image store did not respond in time"),
}
# With ``image_proxy.fallback``, browsers get a picture in place of the JSON.
_PICTURE_FIELDS: Json = {
    "X-Error-Code": {
        "description": "the code of the error, if the body is the fallback picture",
        "schema": STRING,
    }
}
_LINK_PARAMETERS = (
    query("kid", "The id of the key of a signed link.", STRING),
    query("exp", "The expiry of a signed link, in Unix seconds.", STRING),
    query("sig", "The signature of a signed link.", STRING),
)
_IMAGE_PARAMETERS = [
    IMAGE_ID,
    query("style", "A configured image style.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}),
    query("w", "Width in pixels, for a style with widths.", {"type": "string", "pattern": "^[1-9][0-9]{0,4}$"}),
    query("dpr", "Device pixels per pixel of w.", {"type": "string", "pattern": "^[0-9]{1,2}([.][0-9]{1,3})?$"}),
    query("format", "A format of the style.", {"type": "string", "enum": ["original", "webp", "avif", "auto"]}),
    query("v", "The image's version; the answer may be kept for a year.", {"type": "string", "maxLength": 64}),
    query("download", "Save the image under this name.", {"type": "string", "minLength": 1, "maxLength": 255}),
    query(
        "redirect",
        "Respond with a redirect to the image store.",
        {"type": "string", "enum": ["true", "false", "1", "0"]},
    ),
    *_LINK_PARAMETERS,
    header("Range", "One range of bytes (RFC 9110 section 14.2)."),
    header("If-Range", "The validator that the range depends on."),
    header("If-None-Match", "The entity tags that the client has cached."),
    header("If-Modified-Since", "The date of the client's copy."),
]
_IMAGE_RESPONSES: Json = {
    "200": {"description": "the image; with delivery accel, an X-Accel-Redirect to nginx", "content": _BINARY},
    "206": {"description": "the range", "content": _BINARY},
    "302": {"description": "with delivery redirect: the presigned URL; with an older v: the current address"},
    "304": {"description": "the client's copy is current"},
    **{
        status: {**response, "content": {**response["content"], **_BINARY}, "headers": _PICTURE_FIELDS}
        for status, response in _IMAGE_ERRORS.items()
    },
}


def _image(operation: str) -> Json:
    without_bodies = {code: {"description": response["description"]} for code, response in _IMAGE_RESPONSES.items()}
    return {
        "get": {
            "operationId": f"{operation}Get",
            "summary": "The image.",
            "parameters": _IMAGE_PARAMETERS,
            "responses": _IMAGE_RESPONSES,
        },
        "head": {
            "operationId": f"{operation}Head",
            "summary": "The image's headers.",
            "parameters": _IMAGE_PARAMETERS,
            "responses": without_bodies,
        },
    }


_IDS_BODY = object_of(image_ids={"type": "array", "items": STRING, "minItems": 1, "maxItems": MAX_IMAGES})
_BATCH_BODY = {
    **_IDS_BODY,
    "properties": {
        **_IDS_BODY["properties"],
        "include": {"type": "array", "items": {"type": "string", "enum": ["meta"]}},
    },
}
_LINK_BODY = object_of(expires_in={"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME})
_LINK_BATCH_BODY = object_of(**_IDS_BODY["properties"], **_LINK_BODY["properties"])
_LINK_BATCH_ENTRY = object_of(url=STRING, expires_at=TIME)
_OPTIONAL_STRING: Json = {"type": ["string", "null"]}
_OPTIONAL_SIDE: Json = {"type": ["integer", "null"], "minimum": 1}
_STYLE_ENTRY = object_of(
    widths={"type": "array", "items": INTEGER}, formats={"type": "array", "items": STRING}, url=STRING
)
_METADATA = object_of(
    image_id=STRING,
    content_type=_OPTIONAL_STRING,
    width=_OPTIONAL_SIDE,
    height=_OPTIONAL_SIDE,
    version=STRING,
    color=_OPTIONAL_STRING,
    placeholder=_OPTIONAL_STRING,
    styles={"type": "object", "additionalProperties": _STYLE_ENTRY},
)
_BATCH_ENTRY = object_of(url=_OPTIONAL_STRING, expires_at=OPTIONAL_TIME, from_cache=BOOLEAN, version=STRING)
_BATCH_ENTRY["properties"]["meta"] = _METADATA

_OPERATIONS: Mapping[str, Json] = {
    "/api/v1/images/{image_id}/proxy": _image("proxy"),
    "/i/{image_id}": _image("short"),
    "/api/v1/images/{image_id}/access": {
        method: {
            "operationId": f"access{suffix}",
            "summary": "Whether the caller may view the image, for proxies and CDNs.",
            "parameters": [
                IMAGE_ID,
                header("X-Original-URI", "The path and query of the request for the image, with its signed link."),
                *_LINK_PARAMETERS,
            ],
            "responses": {
                "200": {"description": "the caller may view it"},
                "401": {"description": "bad credentials"},
                "403": {"description": "unknown, not visible to the caller, or not known at present"},
            },
        }
        for method, suffix in (("get", "Get"), ("head", "Head"))
    },
    "/api/v1/images/{image_id}/url": {
        "get": {
            "operationId": "url",
            "summary": "A presigned URL of the image.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "the URL",
                    object_of(
                        image_id=STRING,
                        url=STRING,
                        expires_at=TIME,
                        from_cache=BOOLEAN,
                        version=STRING,
                        access_count=INTEGER,
                    ),
                ),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/{image_id}/meta": {
        "get": {
            "operationId": "meta",
            "summary": "Size, version, colour and styles of the image.",
            "description": "`url` of a style has {w} and {format} to be filled in; what is not known yet is null.",
            "parameters": [IMAGE_ID],
            "responses": {"200": success("the metadata", _METADATA), **COMMON_ERRORS},
        }
    },
    "/api/v1/images/{image_id}/url/refresh": {
        "post": {
            "operationId": "refresh",
            "summary": "A new presigned URL, for the owner; on the admin port for the admin, of any image.",
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
            "summary": "The state of the image's cached URL, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "the status",
                    object_of(
                        image_id=STRING,
                        cached=BOOLEAN,
                        expires_at=OPTIONAL_TIME,
                        refresh_due_at=OPTIONAL_TIME,
                        created_at=OPTIONAL_TIME,
                        last_access=OPTIONAL_TIME,
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
            "summary": "A signed link to an image of the caller's own.",
            "description": "The link opens every style of the image, since the signature covers path and expiry only.",
            "parameters": [IMAGE_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _LINK_BODY}}},
            "responses": {
                "200": success("the link", object_of(image_id=STRING, url=STRING, expires_at=TIME)),
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
                "200": success("how often links were invalidated", object_of(image_id=STRING, killed=INTEGER)),
                **COMMON_ERRORS,
            },
        }
    },
    "/api/v1/images/urls": {
        "post": {
            "operationId": "urls",
            "summary": f"Presigned URLs of up to {MAX_IMAGES} images.",
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
                "408": error("the body did not arrive in time"),
                "413": error("the body is too large"),
                "503": error("temporarily unavailable; see Retry-After"),
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
                        links={"type": "object", "additionalProperties": _LINK_BATCH_ENTRY},
                        errors={"type": "object", "additionalProperties": STRING},
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


IMAGE_PATHS: Mapping[str, Json] = with_preflight(_OPERATIONS)
