"""Metadata of images from COS, in Redis: COS is asked once for each version of an image."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.catalog.record import ImageMetadata, ImageRecord, side_of
from gateway.redis_connection.guarded_client import Command
from gateway.redis_connection.shards import Shard, Shards

_LIFE: Final = 7 * 24 * 3600  # seconds
# Seconds for incomplete metadata: the object may be uploaded after its row, or processing switched on later.
INCOMPLETE_LIFE: Final = 60
_COLOR = re.compile(r"#[0-9a-f]{6}")
_PLACEHOLDER = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/]{1,1400}={0,2}")


class MetadataStore:
    """Metadata by image id, each with the version that it is of. Raises ``CacheUnavailable``."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    async def get_many(self, records: Sequence[ImageRecord]) -> dict[str, ImageMetadata]:
        """Return the metadata of the ``records`` that were described in their present version.

        The shards of a server that does not answer are left out, unless none answers.
        """
        groups = self._shards.split(records, _image_id_of)
        if not groups:
            return {}
        answers = await self._shards.run(
            {
                shard: [("MGET", *(shard.metadata(record.image_id) for record in group))]
                for shard, group in groups.items()
            }
        )
        found: dict[str, ImageMetadata] = {}
        for shard, [values] in answers.available().items():
            for record, value in zip(groups[shard], values, strict=True):
                metadata = _decoded(value, record.version_token) if value is not None else None
                if metadata is not None:
                    found[record.image_id] = metadata
        return found

    async def put_many(self, described: Mapping[str, tuple[ImageRecord, ImageMetadata]]) -> None:
        """Keep metadata for a week, and incomplete metadata for a minute."""
        commands: dict[Shard, list[Command]] = {}
        for image_id, (record, metadata) in described.items():
            shard = self._shards.of(image_id)
            known = metadata if metadata.placeholder is not None else metadata[:-1]
            value = json.dumps([record.version_token, *known], separators=(",", ":"))
            life = _LIFE if metadata.is_complete_for(record) else INCOMPLETE_LIFE
            commands.setdefault(shard, []).append(("SET", shard.metadata(image_id), value, "EX", life))
        if commands:
            (await self._shards.run(commands)).complete()


def _image_id_of(record: ImageRecord) -> str:
    return record.image_id


def _decoded(value: bytes, version: str) -> ImageMetadata | None:
    """Return the metadata if the value is the metadata of that version. Other programs can write to Redis."""
    try:
        parsed: Any = json.loads(value)
    except (ValueError, RecursionError):
        return None
    match parsed:
        case [str(of), int() | None as width, int() | None as height, str() | None as color, *more] if of == version:
            is_color = color is None or _COLOR.fullmatch(color) is not None
            return ImageMetadata(side_of(width), side_of(height), color if is_color else None, _placeholder_of(more))
    return None


def _placeholder_of(more: list[Any]) -> str | None:
    match more:
        case [str(text)] if not text or _PLACEHOLDER.fullmatch(text):
            return text
    return None
