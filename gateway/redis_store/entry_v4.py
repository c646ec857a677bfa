"""Reader of entries of version 4, so that a rolling upgrade from a build that writes them signs few URLs again."""

import hmac
import re
from typing import Final, Literal

from pydantic import ValidationError

from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant, SignedImage
from gateway.redis_store.entry_codec import EntryMac, RowInEntry, UrlBuilder, take_apart

_DIGITS: Final = 32
_BEGINNING: Final = re.compile(rb"[0-9]{1,11} [0-9a-f]{%d} " % _DIGITS)


class _EntryV4(RowInEntry):
    """The JSON of version 4, with the name of the variant and the whole URL."""

    v: Literal[4]
    id: str
    rendition: str | None
    url: str


def is_v4(signed: bytes) -> bool:
    """Return whether this looks like an entry of version 4: its MAC is longer."""
    return _BEGINNING.match(signed) is not None


def decode_v4(
    signed: bytes, variant: ImageVariant, mac: EntryMac, urls: UrlBuilder, renditions: Renditions
) -> SignedImage:
    """Return the entry of ``variant``; raises ``ValueError`` if its MAC or its content is not one of this gateway."""
    entry, digest = take_apart(signed)
    macs = [hmac.digest(key, entry, "sha256").hex()[:_DIGITS].encode() for key in mac.accepted_keys]
    if not any(hmac.compare_digest(digest, one) for one in macs):
        raise ValueError("not signed by a gateway with this secret")
    end, _, body = entry.partition(b" ")
    try:
        read = _EntryV4.model_validate_json(body)
    except ValidationError:
        raise ValueError("not an entry of version 4") from None
    if (read.id, read.rendition) != variant:
        raise ValueError("the entry of another image")
    image = read.image(read.record(variant.image_id), variant.rendition, read.url, int(end), renditions)
    if not urls.is_ours(image):
        raise ValueError("the entry of a gateway with another configuration")
    return image
