"""``Accept`` (RFC 9110 section 12.5.1): whether a page shows an image or a program asks, and the format it prefers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.settings import VariantFormat

_MAX_LENGTH: Final = 1024  # characters of Accept; browsers send about 100
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE)  # RFC 9110 section 12.4.2
_FORMATS: Final[Mapping[str, VariantFormat]] = {"image/avif": "avif", "image/webp": "webp"}


def accepts_image(headers: Mapping[str, str]) -> bool:
    """Return whether ``Sec-Fetch-Dest`` says image or, without that field, ``Accept`` prefers images.

    Current browsers send ``Sec-Fetch-Dest`` (W3C Fetch Metadata), and no page can change it. Older ones name image
    types in the Accept of an ``<img>``, and no other type with an equal or higher quality. Neither ``*/*`` nor the
    Accept of a page, which prefers ``text/html``, names an image first.
    """
    destination = headers.get("Sec-Fetch-Dest")
    if destination is not None:
        return destination.strip().lower() == "image"
    accept = headers.get("Accept", "")
    return len(accept) <= _MAX_LENGTH and _prefers_images(accept)


def choose_format(accept: Sequence[str], formats: Sequence[VariantFormat]) -> VariantFormat:
    """Return the format that the client prefers: the first of ``formats`` among equals, ``original`` if it names none,
    or there are none.

    ``accept`` are the lines of the field. ``image/*`` and ``*/*`` do not include AVIF and WebP, because
    clients that cannot decode these send them as well. Only the end of a long field counts: nginx adds there what its
    cache key says.
    """
    field = ",".join(accept)
    if len(field) > _MAX_LENGTH:
        field = field[-_MAX_LENGTH:].partition(",")[2]
    qualities = {_FORMATS.get(media_type): quality for media_type, quality in _ranges(field)}
    preferred = [candidate for candidate in formats if qualities.get(candidate, 0.0) > 0]
    return max(preferred, key=lambda candidate: qualities[candidate], default="original")


def _prefers_images(accept: str) -> bool:
    image = other = anything = 0.0
    for media_type, quality in _ranges(accept):
        if media_type.startswith("image/"):
            image = max(image, quality)
        elif media_type == "*/*":
            anything = max(anything, quality)
        else:
            other = max(other, quality)
    return image > other and image >= anything


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield each media range with its quality (RFC 9110 section 12.5.1). An invalid quality counts as 0."""
    for part in filter(str.strip, accept.split(",")):
        media_type, *parameters = part.split(";")
        qualities = [parameter for parameter in parameters if parameter.partition("=")[0].strip().lower() == "q"]
        match = _QUALITY.fullmatch(qualities[0]) if qualities else None
        yield media_type.strip().lower(), float(match[1]) if match is not None else float(not qualities)
