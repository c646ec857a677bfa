"""The queue of renewals in Redis: an image or rendition is due when its URL should be signed again."""

from collections.abc import Callable
from random import random as any_number

from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.shards import Shard, Shards, decode_variant, encode_variant
from gateway.redis_queue.leased_queue import LeasedQueue, QueueLimits
from gateway.settings import Live


class RefreshQueue(LeasedQueue[ImageVariant]):
    """The queue of renewals in Redis: ``refresh:queue``, ``refresh:dead`` and ``refresh:attempts`` of each shard."""

    def __init__(self, shards: Shards, limits: Live[QueueLimits], random: Callable[[], float] = any_number) -> None:
        super().__init__(shards, "refresh", shards.all, limits=limits, random=random)

    def _shard_of(self, item: ImageVariant) -> Shard:
        return self._shards.of(item.image_id)

    def _encode(self, item: ImageVariant) -> str:
        return encode_variant(item)

    def _decode(self, word: bytes) -> ImageVariant:
        return decode_variant(word)
