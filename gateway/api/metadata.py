"""Metadata of images: sizes before bytes, the version, and the addresses of styles ready for ``srcset``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.access.client_address import ClientAddress
from gateway.api.authorized_lookup import AuthorizedLookup
from gateway.api.json_bodies import success
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import ImageMetadata, ImageRecord
from gateway.delivery.request_context import peer_of
from gateway.presign.style_variants import Renditions
from gateway.settings import Live
from gateway.urls.metadata import MetadataLookup


@dataclass(frozen=True, slots=True)
class Metadata:
    """Handler that answers with metadata (size, version, URLs of styles) of images that the caller may view."""

    lookup: AuthorizedLookup
    client_address: ClientAddress
    known: MetadataLookup
    renditions: Live[Renditions]

    async def meta(self, request: web.Request) -> web.Response:
        image_id = parse_image_id(request.match_info["image_id"])
        record = await self.lookup.record(request, image_id)
        return success((await self.of(request, [record]))[image_id])

    async def of(self, request: web.Request, records: Sequence[ImageRecord]) -> dict[str, dict[str, Any]]:
        """Return the metadata of each record by image id. Values that are not known from COS yet are None."""
        client = self.client_address.subscriber_of(request.headers, peer_of(request))
        known = await self.known.of_many(records, client)
        return {record.image_id: _metadata(record, known[record.image_id], self.renditions.value) for record in records}


def _metadata(record: ImageRecord, known: ImageMetadata, renditions: Renditions) -> dict[str, Any]:
    version = record.version_token

    def address(style: str) -> str:
        """Return the address of a style, with ``{w}`` and ``{format}`` to be filled in if it has widths."""
        variant = "&w={w}&format={format}" if renditions.widths(style) else ""
        return f"/i/{record.image_id}?style={style}{variant}&v={version}"

    return {
        "image_id": record.image_id,
        "content_type": record.content_type,
        "width": known.width,
        "height": known.height,
        "version": version,
        "color": known.color,
        "placeholder": known.placeholder,
        "styles": {style: {**renditions.describe(style), "url": address(style)} for style in renditions.styles},
    }
