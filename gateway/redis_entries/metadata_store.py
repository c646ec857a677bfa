"""Metadata of images from COS, in Redis: COS is asked once for each version of an image."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.catalog.record import ImageMetadata, ImageRecord, side_of
from gateway.redis_connection.shards import Shards

_LIFE: Final = 7 * 24 * 3600  # seconds
# Seconds for incomplete metadata: the object may be uploaded after its row, or processing switched on later.
INCOMPLETE_LIFE: Final = 60
_COLOR = re.compile(r"#[0-9a-f]{6}")
_PLACEHOLDER = re.compile(r"(data:image/webp;base64,[A-Za-z0-9+/]{1,1400}={0,2})?")  # empty: COS can make none


class MetadataStore:
    """Keeps COS's metadata of images in Redis, by image id and version of the object. Raises ``CacheUnavailable``."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def get_many(self, records: Sequence[ImageRecord]) -> dict[str, ImageMetadata]:
        """Return the metadata of the ``records`` that were described in their present version, as ``Shards.values``."""
        values = await self._shards.values(
            records, lambda shard, own: [("MGET", *(shard.metadata(record.image_id) for record in own))]
        )
        return {
            record.image_id: metadata
            for record, (value,) in values.items()
            if value is not None and (metadata := _decoded(value, record.object_version)) is not None
        }

    async def put(self, record: ImageRecord, metadata: ImageMetadata) -> None:
        """Keep metadata for a week, and incomplete metadata for a minute."""
        shard = self._shards.of(record.image_id)
        known = metadata if metadata.placeholder is not None else metadata[:-1]
        value = json.dumps([record.object_version, *known], separators=(",", ":"))
        life = _LIFE if metadata.is_complete_for(record) else INCOMPLETE_LIFE
        await self._shards.run_on(shard, ("SET", shard.metadata(record.image_id), value, "EX", life))


def _decoded(value: bytes, version: str) -> ImageMetadata | None:
    """Return the metadata if the value is the metadata of that version. Other programs can write to Redis."""
    try:
        parsed: Any = json.loads(value)
    except (ValueError, RecursionError):
        return None
    match parsed:
        case [str(of), int() | None as width, int() | None as height, str() | None as color, *more] if of == version:
            is_color = color is None or _COLOR.fullmatch(color) is not None
            is_placeholder = len(more) == 1 and isinstance(more[0], str) and _PLACEHOLDER.fullmatch(more[0]) is not None
            return ImageMetadata(
                side_of(width), side_of(height), color if is_color else None, more[0] if is_placeholder else None
            )
    return None
