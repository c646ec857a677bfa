"""Findings on variants: COS makes a WebP and an AVIF of an image, if a style lists the format."""

from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.catalog.record import ImageRecord
from gateway.checks.finding import Finding, warning
from gateway.errors import GatewayError
from gateway.presign.renditions import Renditions

# Returns the content type of COS's answer for a rendition of the image; raises ``GatewayError``.
Make = Callable[[ImageRecord, str], Awaitable[str | None]]

_ADVICE = {
    "webp": "look at the style's process; COS document 44880 lists the operations",
    "avif": "switch AVIF on for the bucket (COS console, data processing; 1246/109218), or take it out of the formats",
}


async def check_variants(make: Make, image: ImageRecord, renditions: Renditions) -> AsyncIterator[Finding]:
    """Yield a finding for each of the two formats that a style lists, of its narrowest rendition.

    A refusal is a warning, since the gateway sends another format or the original then.
    """
    for image_format, advice in _ADVICE.items():
        name = _narrowest(renditions, image_format)
        if name is None:
            continue
        try:
            content_type = await make(image, name)
        except GatewayError as error:
            yield warning(f"variant {name}", f"COS does not make it of row {image.image_id}: {error}", advice)
            continue
        if content_type != f"image/{image_format}":
            yield warning(f"variant {name}", f"COS made {content_type or 'no type'} of row {image.image_id}", advice)
        else:
            yield Finding(f"variant {name}", True, f"COS made it of row {image.image_id}")


def _narrowest(renditions: Renditions, image_format: str) -> str | None:
    """Return the name of the narrowest rendition in the format, or None if no style lists it."""
    found = [rendition for rendition in map(renditions.get, renditions.names) if rendition.format == image_format]
    return min(found, key=lambda rendition: rendition.width or 0).name if found else None
