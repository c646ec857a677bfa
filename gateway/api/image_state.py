"""The state of an image's cached URL and its usage, as the owner and the admin see it."""

from aiohttp import web

from gateway.api.json_responses import success
from gateway.presign.signed_image import ImageVariant, PresignedUrl
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_queue.refresh_queue import RefreshQueue
from gateway.urls.usage_counter import UsageCounter


class ImageState:
    """``queue`` is None without Redis."""

    def __init__(self, usage: UsageCounter, queue: RefreshQueue | None) -> None:
        self._usage = usage
        self._queue = queue

    async def response(self, image_id: str, presigned: PresignedUrl | None) -> web.Response:
        """Return the state. ``presigned`` is the cached URL or None. Times are in Unix seconds."""
        usage = await self._usage.usage(ImageVariant(image_id))
        return success(
            {
                "image_id": image_id,
                "cached": presigned is not None,
                "expires_at": presigned.expires_at if presigned is not None else None,
                "refresh_due_at": await self._refresh_due_at(image_id),
                "created_at": presigned.signed_at if presigned is not None else None,
                "last_access": int(usage.last_access) if usage.last_access is not None else None,
                "access_count": usage.access_count,
                "refresh_count": usage.refresh_count,
            }
        )

    async def _refresh_due_at(self, image_id: str) -> int | None:
        if self._queue is None:
            return None
        try:
            due_at = await self._queue.due_at(ImageVariant(image_id))
        except CacheUnavailable:
            return None
        return int(due_at) if due_at is not None else None
