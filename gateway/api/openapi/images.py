"""The description of the routes for images."""

from collections.abc import Mapping

from gateway.api.batch import MAX_IMAGES
from gateway.api.link_handlers import MAX_LIFETIME
from gateway.api.openapi.schema import (
    BOOLEAN,
    COMMON_ERRORS,
    ERROR_CODE,
    IMAGE_ID,
    INTEGER,
    OPTIONAL_TIME,
    STRING,
    TIME,
    Json,
    array_of,
    described,
    error,
    header,
    map_of,
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
    query("kid", "The id of the key of a signed link.", STRING, "2026"),
    query("exp", "The expiry of a signed link, in Unix seconds.", STRING, "1770003600"),
    query("sig", "The signature of a signed link.", STRING, "hV6E2kUxA4rXFbP0oQXq1nT9gk2m3s8cJ7dWl5yZt0A"),
)
_IMAGE_PARAMETERS = [
    IMAGE_ID,
    query("style", "A configured image style.", {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,31}$"}, "card"),
    query("w", "Width in pixels, for a style with widths.", {"type": "string", "pattern": "^[1-9][0-9]{0,4}$"}, "640"),
    query("dpr", "Device pixels per pixel of w.", {"type": "string", "pattern": "^[0-9]{1,2}([.][0-9]{1,3})?$"}, "2"),
    query("format", "A format of the style.", {"type": "string", "enum": ["original", "webp", "avif", "auto"]}, "webp"),
    query(
        "v",
        "The image's version; the answer may be kept for a year.",
        {"type": "string", "maxLength": 64},
        "0c54a6e1b0d3f7a2",
    ),
    query(
        "download", "Save the image under this name.", {"type": "string", "minLength": 1, "maxLength": 255}, "dawn.jpg"
    ),
    query(
        "redirect",
        "Respond with a redirect to the image store.",
        {"type": "string", "enum": ["true", "false", "1", "0"]},
        "true",
    ),
    *_LINK_PARAMETERS,
    header("Range", "One range of bytes (RFC 9110 section 14.2).", "bytes=0-1023"),
    header("If-Range", "The validator that the range depends on.", '"9a0364b9e99bb480dd25e1f0284c8555"'),
    header("If-None-Match", "The entity tags that the client has cached.", '"9a0364b9e99bb480dd25e1f0284c8555"'),
    header("If-Modified-Since", "The date of the client's copy.", "Mon, 02 Feb 2026 02:40:00 GMT"),
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


_ID: Json = {**STRING, "examples": ["sunrise"]}
_IDS_BODY = object_of(
    image_ids=described({**array_of(_ID), "minItems": 1, "maxItems": MAX_IMAGES}, "the ids of the images")
)
_BATCH_BODY = {
    **_IDS_BODY,
    "properties": {
        **_IDS_BODY["properties"],
        "include": described(array_of({"type": "string", "enum": ["meta"]}), "what else each entry shall have"),
    },
}
_LINK_BODY = object_of(
    expires_in=described({"type": "integer", "minimum": 1, "maximum": MAX_LIFETIME}, "the link's life in seconds", 3600)
)
_LINK_BATCH_BODY = object_of(**_IDS_BODY["properties"], **_LINK_BODY["properties"])
_LINK: Json = described(
    STRING,
    "the path and query of the signed link",
    "/i/sunrise?kid=2026&exp=1770003600&sig=hV6E2kUxA4rXFbP0oQXq1nT9gk2m3s8cJ7dWl5yZt0A",
)
_LINK_BATCH_ENTRY = object_of(url=_LINK, expires_at=TIME)
_OPTIONAL_STRING: Json = {"type": ["string", "null"]}
_OPTIONAL_SIDE: Json = {"type": ["integer", "null"], "minimum": 1}
_PRESIGNED = "https://photos-1250000000.cos.ap-guangzhou.myqcloud.com/sunrise.jpg?q-sign-algorithm=sha1&…"
_URL: Json = described(STRING, "a presigned URL of COS", _PRESIGNED)
_OPTIONAL_URL: Json = described(
    _OPTIONAL_STRING, "a presigned URL of COS; null if the caller may see styles alone", _PRESIGNED
)
_VERSION: Json = described(STRING, "another one when the image has changed: v in addresses", "0c54a6e1b0d3f7a2")
_FROM_CACHE: Json = described(BOOLEAN, "whether the URL was signed before")
_ACCESS_COUNT: Json = described(INTEGER, "uses of the image", 42)
_ERRORS: Json = described(map_of(ERROR_CODE, "dunes"), "for each other id, the code that a request for it alone gets")
_STYLE_ENTRY = object_of(
    widths=described(array_of(INTEGER), "in pixels; none for a fixed style", [320, 640]),
    formats=described(array_of(STRING), "the best first", ["avif", "webp", "original"]),
    url=described(
        STRING,
        "with {w} and {format} to be filled in",
        "/i/sunrise?style=card&w={w}&format={format}&v=0c54a6e1b0d3f7a2",
    ),
)
_METADATA = object_of(
    image_id=_ID,
    content_type=described(_OPTIONAL_STRING, "of the original", "image/jpeg"),
    width=described(_OPTIONAL_SIDE, "of the original in pixels", 960),
    height=described(_OPTIONAL_SIDE, "of the original in pixels", 640),
    version=_VERSION,
    color=described(_OPTIONAL_STRING, "the average colour", "#a87a7e"),
    placeholder=described(_OPTIONAL_STRING, "as the row has it", None),
    styles=described(map_of(_STYLE_ENTRY, "card"), "by name"),
)
_BATCH_ENTRY = object_of(url=_OPTIONAL_URL, expires_at=OPTIONAL_TIME, from_cache=_FROM_CACHE, version=_VERSION)
_BATCH_ENTRY["properties"]["meta"] = described(_METADATA, "only if it was asked for")

_OPERATIONS: Mapping[str, Json] = {
    "/api/v1/images/{image_id}/proxy": _image("proxy"),
    "/i/{image_id}": _image("short"),
    "/api/v1/images/{image_id}/access": {
        method: {
            "operationId": f"access{suffix}",
            "summary": "Whether the caller may view the image, for proxies and CDNs.",
            "parameters": [
                IMAGE_ID,
                header(
                    "X-Original-URI",
                    "The path and query of the request for the image, with its signed link.",
                    "/i/sunrise?style=card",
                ),
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
                        image_id=_ID,
                        url=_URL,
                        expires_at=TIME,
                        from_cache=_FROM_CACHE,
                        version=_VERSION,
                        access_count=_ACCESS_COUNT,
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
                "200": success("the new URL", object_of(image_id=_ID, url=_URL, expires_at=TIME)),
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
                        image_id=_ID,
                        cached=described(BOOLEAN, "whether there is a presigned URL that may be used"),
                        expires_at=OPTIONAL_TIME,
                        refresh_due_at=described(OPTIONAL_TIME, "when a new one is due, in Unix seconds", 1770002700),
                        created_at=described(OPTIONAL_TIME, "when it was signed, in Unix seconds", 1770000000),
                        last_access=described(OPTIONAL_TIME, "in Unix seconds", 1770000600),
                        access_count=_ACCESS_COUNT,
                        refresh_count=described(INTEGER, "renewals of the URL", 3),
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
                "200": success("the link", object_of(image_id=_ID, url=_LINK, expires_at=TIME)),
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
                    object_of(image_id=_ID, killed=described(INTEGER, "how often, this time included", 1)),
                ),
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
                    object_of(urls=described(map_of(_BATCH_ENTRY, "sunrise"), "by the image's id"), errors=_ERRORS),
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
                        links=described(map_of(_LINK_BATCH_ENTRY, "sunrise"), "by the image's id"), errors=_ERRORS
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
