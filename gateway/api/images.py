"""One image: its bytes, its presigned URL, its state."""

import time
from collections.abc import Mapping

from aiohttp import web

from gateway.api.answers import success
from gateway.api.caller import caller_of
from gateway.api.keys import (
    FORGETTING,
    IMAGE_ACCEL,
    IMAGE_STREAM,
    LIFETIME,
    REFRESH_QUEUE,
    RESOLVER,
    SETTINGS,
    STREAM_LIMIT,
    USAGE,
    VIEWING,
)
from gateway.api.middlewares import DELIVERY
from gateway.catalog.image_id import parse_image_id
from gateway.delivery.image_request import ImageRequest
from gateway.delivery.redirect import redirect_to
from gateway.errors import RouteNotFound
from gateway.urls.member import Member
from gateway.urls.presigned import SignedImage
from gateway.urls.redis_guard import CacheUnavailable

_NO_QUERY: Mapping[str, str] = {}


async def proxy(request: web.Request) -> web.StreamResponse:
    """The image's bytes, or a redirect to them."""
    app = request.app
    settings = app[SETTINGS].image_proxy
    if not settings.enabled:
        raise RouteNotFound
    query = request.query if request.query_string else _NO_QUERY
    wanted = ImageRequest.parse(request.match_info["image_id"], query, request.headers)
    delivery = "redirect" if wanted.redirect else settings.delivery
    with app[STREAM_LIMIT]:
        viewed = await app[VIEWING].view(caller_of(request), wanted.image_id, wanted.style)
        app[USAGE].accessed(wanted.image_id, wanted.style)
        request[DELIVERY] = delivery
        if delivery == "redirect":
            return _redirect(request, viewed.image)
        deliver = app[IMAGE_ACCEL if delivery == "accel" else IMAGE_STREAM]

        async def view_again() -> SignedImage:
            return (await app[VIEWING].view(caller_of(request), wanted.image_id, wanted.style)).image

        return await deliver.answer(request, wanted, viewed.image, view_again=view_again)


def _redirect(request: web.Request, image: SignedImage) -> web.Response:
    """COS refuses HEAD on a URL signed for GET, so each method is sent to a URL of its own."""
    app = request.app
    presigned = app[RESOLVER].sign_for_head(image) if request.method == "HEAD" else image.presigned
    max_age = app[LIFETIME].redirect_max_age(presigned, app[SETTINGS].image_proxy.max_age, time.time())
    return redirect_to(presigned.url, image, max_age=max_age)


async def url(request: web.Request) -> web.Response:
    """The image's presigned URL, for whoever fetches from COS directly."""
    image_id = parse_image_id(request.match_info["image_id"])
    viewed = await request.app[VIEWING].view(caller_of(request), image_id)
    request.app[USAGE].accessed(image_id)
    usage = await request.app[USAGE].usage(Member(image_id))
    presigned = viewed.image.presigned
    return success(
        {
            "image_id": image_id,
            "url": presigned.url,
            "expires_at": presigned.expires_at,
            "from_cache": viewed.from_cache,
            "access_count": usage.access_count,
        }
    )


async def refresh(request: web.Request) -> web.Response:
    """A presigned URL made this moment."""
    image_id = parse_image_id(request.match_info["image_id"])
    await request.app[VIEWING].control(caller_of(request), image_id)
    presigned = (await request.app[RESOLVER].renew(image_id)).presigned
    request.app[USAGE].refreshed(Member(image_id))
    await request.app[FORGETTING].tell_others([image_id])
    return success(
        {"image_id": image_id, "url": presigned.url, "expires_at": presigned.expires_at}, "a new URL was signed"
    )


async def status(request: web.Request) -> web.Response:
    """What is kept of the image's URL, and how it was used; times in Unix seconds."""
    image_id = parse_image_id(request.match_info["image_id"])
    presigned = (await request.app[VIEWING].control(caller_of(request), image_id)).presigned
    usage = await request.app[USAGE].usage(Member(image_id))
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
        due_at = await queue.due_at(Member(image_id))
    except CacheUnavailable:
        return None
    return int(due_at) if due_at is not None else None
