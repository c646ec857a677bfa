"""The description of the routes that answer with an image, and of the access check."""

from collections.abc import Mapping

from gateway.api.openapi.schema import COMMON_ERRORS, IMAGE_ID, STRING, Json, error, header, query, with_preflight

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


_KEPT_FOR: Mapping[str, Json] = {
    "X-Decision-For": {
        "description": "For how many seconds nginx may keep the answer; absent: not at all.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 300},
    }
}

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
                "200": {"description": "the caller may view it", "headers": _KEPT_FOR},
                "401": {"description": "bad credentials", "headers": _KEPT_FOR},
                "403": {
                    "description": "unknown, not visible to the caller, or not known at present",
                    "headers": _KEPT_FOR,
                },
            },
        }
        for method, suffix in (("get", "Get"), ("head", "Head"))
    },
}


IMAGE_PATHS: Mapping[str, Json] = with_preflight(_OPERATIONS)
