"""The queue of renewals in Redis: an image or rendition is due when its URL should be signed again."""

from collections.abc import Callable
from random import random as any_number
from typing import Final

from gateway.presign.signed_image import ImageVariant
from gateway.redis_store.entry_codec import decode_variant, encode_variant
from gateway.redis_store.guarded_client import GuardedRedis
from gateway.redis_store.leased_queue import LeasedQueue, QueueLimits
from gateway.redis_store.queue_codec import Codec

_CODEC: Final = Codec(encode_variant, decode_variant)


class RefreshQueue(LeasedQueue[ImageVariant]):
    """Renewals by due time, in ``refresh:queue``, ``refresh:dead`` and ``refresh:attempts``."""

    def __init__(
        self,
        guard: GuardedRedis,
        limits: QueueLimits,
        random: Callable[[], float] = any_number,
    ) -> None:
        super().__init__(guard, "refresh", _CODEC, limits=limits, random=random)
