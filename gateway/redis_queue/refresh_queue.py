"""The queue of renewals in Redis: an image or rendition is due when its URL should be signed again."""

from collections.abc import Callable
from random import random as any_number
from typing import Final

from gateway.presign.signed_image import ImageVariant
from gateway.redis_connection.shards import Shard, Shards, decode_variant, encode_variant
from gateway.redis_queue.leased_queue import LeasedQueue, Places, QueueKeys, QueueLimits
from gateway.redis_queue.queue_codec import Codec
from gateway.settings import Live

_CODEC: Final = Codec(encode_variant, decode_variant)


class RefreshQueue(LeasedQueue[ImageVariant]):
    """Renewals by due time, in ``refresh:queue``, ``refresh:dead`` and ``refresh:attempts`` of each shard."""

    def __init__(
        self,
        shards: Shards,
        limits: Live[QueueLimits],
        random: Callable[[], float] = any_number,
    ) -> None:
        places: Places[ImageVariant] = Places(shards.all, lambda variant: shards.of(variant.image_id), _keys)
        super().__init__(shards, places, _CODEC, limits=limits, random=random)


def _keys(shard: Shard) -> QueueKeys:
    return QueueKeys(shard.queue, shard.attempts, shard.dead)
