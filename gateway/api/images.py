"""Handlers for one image: its bytes, its presigned URL, its status."""

from aiohttp import web

from gateway.api.app_keys import (
    AUTHORIZED_LOOKUP,
    CALLERS,
    IMAGE_HANDLER,
    INVALIDATION,
    ON_DEMAND_RENEWAL,
    PUBLIC_URLS,
    REFRESH_QUEUE,
    URL_HANDLER,
    USAGE,
)
from gateway.api.json_responses import success
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.request_context import REQUEST_CONTEXT
from gateway.presign.signed_image import ImageVariant, PresignedUrl, SignedImage
from gateway.redis_store.guarded_client import CacheUnavailable


async def proxy(request: web.Request) -> web.StreamResponse:
    """Send the image, for an address that the router had to decode; ``ImageHandler`` handles the others."""
    image_id = parse_image_id(request.match_info["image_id"])
    return await request.app[IMAGE_HANDLER].answer(request, image_id, request[REQUEST_CONTEXT])


async def url(request: web.Request) -> web.StreamResponse:
    """Return the image's presigned URL for an address that the router had to decode; ``UrlHandler`` handles others."""
    return await request.app[URL_HANDLER].answer(request, parse_image_id(request.match_info["image_id"]))


async def refresh(request: web.Request) -> web.Response:
    """Sign and return a new presigned URL."""
    image_id = parse_image_id(request.match_info["image_id"])
    await request.app[AUTHORIZED_LOOKUP].own(request.app[CALLERS].of(request), image_id)
    return renewed(image_id, request.app[PUBLIC_URLS].presign(await renew(request.app, image_id)))


async def renew(app: web.Application, image_id: str) -> SignedImage:
    """Sign a new presigned URL, in place of the cached one on every replica.

    The caller has checked the id and access. Raises the errors of ``OnDemandRenewal.renew``.
    """
    image = await app[ON_DEMAND_RENEWAL].renew(image_id)
    app[USAGE].refreshed(ImageVariant(image_id))
    await app[INVALIDATION].notify_replicas([image_id])
    return image


def renewed(image_id: str, presigned: PresignedUrl, *, shows_url: bool = True) -> web.Response:
    """Return the response about a new URL, without the URL itself unless ``shows_url``."""
    url = presigned.url if shows_url else None
    return success({"image_id": image_id, "url": url, "expires_at": presigned.expires_at}, "a new URL was signed")


async def status(request: web.Request) -> web.Response:
    """Return the state of the image's cached URL and its usage, for the owner; times in Unix seconds."""
    image_id = parse_image_id(request.match_info["image_id"])
    owned = await request.app[AUTHORIZED_LOOKUP].own(request.app[CALLERS].of(request), image_id)
    return await state_of(request, image_id, owned.presigned)


async def state_of(request: web.Request, image_id: str, presigned: PresignedUrl | None) -> web.Response:
    """Return the state of the image's cached URL, None without one, and its usage."""
    usage = await request.app[USAGE].usage(ImageVariant(image_id))
    return success(
        {
            "image_id": image_id,
            "cached": presigned is not None,
            "expires_at": presigned.expires_at if presigned is not None else None,
            "refresh_due_at": await _refresh_due_at(request, image_id),
            "created_at": presigned.signed_at if presigned is not None else None,
            "last_access": int(usage.last_access) if usage.last_access is not None else None,
            "access_count": usage.access_count,
            "refresh_count": usage.refresh_count,
        }
    )


async def _refresh_due_at(request: web.Request, image_id: str) -> int | None:
    queue = request.app.get(REFRESH_QUEUE)
    if queue is None:
        return None
    try:
        due_at = await queue.due_at(ImageVariant(image_id))
    except CacheUnavailable:
        return None
    return int(due_at) if due_at is not None else None
