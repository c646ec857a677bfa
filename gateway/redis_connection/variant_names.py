"""The names of a variant in Redis: its part of a key, and its word in sets, which is validated when it is read."""

import re
from collections.abc import Iterable

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.presign.renditions import RENDITION_NAME
from gateway.presign.signed_image import ImageVariant

_SEPARATOR = "|"  # occurs neither in an id nor in the name of a rendition
_WORD = re.compile(rf"({IMAGE_ID})(?:[{_SEPARATOR}]({RENDITION_NAME}))?")
# The id of an image may be another id, a colon and the name of a rendition. The key of its original ends with the mark,
# which occurs neither in an id nor in the name of a rendition, so that it is not the key of that rendition.
_SPELLS_A_VARIANT = re.compile(rf".+:{RENDITION_NAME}")
_ORIGINAL_MARK = "|"


def entry_key_part(variant: ImageVariant) -> str:
    """Return ``id`` or ``id:rendition``. No two variants have the same part."""
    image_id, rendition = variant
    if rendition is not None:
        return f"{image_id}:{rendition}"
    if ":" in image_id and _SPELLS_A_VARIANT.fullmatch(image_id):
        return image_id + _ORIGINAL_MARK
    return image_id


def encode_variant(variant: ImageVariant) -> str:
    """Return the word for the variant in sorted sets and hashes."""
    return variant.image_id if variant.rendition is None else f"{variant.image_id}{_SEPARATOR}{variant.rendition}"


def decode_variant(word: bytes) -> ImageVariant:
    """Return the variant that ``encode_variant`` wrote. Raises ``ValueError`` for any other word.

    Other programs can write to Redis: a NUL in an id would make the query of a whole batch fail.
    """
    found = _WORD.fullmatch(word.decode("ascii"))
    if found is None:
        raise ValueError("not an image and a rendition")
    return ImageVariant(found[1], found[2])


def decode_variants(words: Iterable[bytes]) -> tuple[list[ImageVariant], list[bytes]]:
    """Return the variants that ``words`` name, and the words that name none."""
    variants: list[ImageVariant] = []
    garbage: list[bytes] = []
    for word in words:
        try:
            variants.append(decode_variant(word))
        except ValueError:
            garbage.append(word)
    return variants, garbage
