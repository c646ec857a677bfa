"""The description of the routes for presigned URLs, for metadata and for signed links."""

from collections.abc import Mapping

from gateway.api.batch import MAX_IMAGES
from gateway.api.link_handlers import MAX_LIFETIME
from gateway.api.openapi.schema import (
    BODY_ERRORS,
    BOOLEAN,
    COMMON_ERRORS,
    ERRORS_BY_ID,
    ID,
    IDS_BODY,
    IMAGE_ID,
    INTEGER,
    OPTIONAL_TIME,
    STRING,
    TIME,
    Json,
    array_of,
    described,
    error,
    map_of,
    object_of,
    success,
    with_preflight,
)

_BATCH_BODY = {
    **IDS_BODY,
    "properties": {
        **IDS_BODY["properties"],
        "include": described(array_of({"type": "string", "enum": ["meta"]}), "what else each entry shall have"),
    },
}
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
    image_id=ID,
    content_type=described(_OPTIONAL_STRING, "of the original", "image/jpeg"),
    width=described(_OPTIONAL_SIDE, "of the original in pixels", 960),
    height=described(_OPTIONAL_SIDE, "of the original in pixels", 640),
    version=_VERSION,
    color=described(_OPTIONAL_STRING, "the average colour", "#a87a7e"),
    placeholder=described(_OPTIONAL_STRING, "as the row has it, else a tiny copy as a data URL, or null", None),
    styles=described(map_of(_STYLE_ENTRY, "card"), "by name"),
)
_BATCH_ENTRY = object_of(url=_OPTIONAL_URL, expires_at=OPTIONAL_TIME, from_cache=_FROM_CACHE, version=_VERSION)
_BATCH_ENTRY["properties"]["meta"] = described(_METADATA, "only if it was asked for")
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
    "/api/v1/images/{image_id}/url": {
        "get": {
            "operationId": "url",
            "summary": "A presigned URL of the image.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success(
                    "the URL",
                    object_of(
                        image_id=ID,
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
            "summary": "A new presigned URL, for the owner.",
            "parameters": [IMAGE_ID],
            "responses": {
                "200": success("the new URL", object_of(image_id=ID, url=_URL, expires_at=TIME)),
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
                        image_id=ID,
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
    "/api/v1/images/urls": {
        "post": {
            "operationId": "urls",
            "summary": f"Presigned URLs of up to {MAX_IMAGES} images.",
            "requestBody": {"required": True, "content": {"application/json": {"schema": _BATCH_BODY}}},
            "responses": {
                "200": success(
                    "a URL or the code of an error for each id",
                    object_of(
                        urls=described(map_of(_BATCH_ENTRY, "sunrise"), "by the image's id"), errors=ERRORS_BY_ID
                    ),
                ),
                "400": error("the body is not valid"),
                **BODY_ERRORS,
                "503": error("temporarily unavailable; see Retry-After"),
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
                "200": success("the link", object_of(image_id=ID, url=_LINK, expires_at=TIME)),
                **COMMON_ERRORS,
                **BODY_ERRORS,
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
                **BODY_ERRORS,
            },
        }
    },
}


URL_PATHS: Mapping[str, Json] = with_preflight(_OPERATIONS)
