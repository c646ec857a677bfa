"""The last part of the key of a cached URL."""

import re
from typing import Final

from gateway.presign.renditions import RENDITION_NAME
from gateway.presign.signed_image import ImageVariant

# The id of an image may be another id, a colon and the name of a rendition. The key of its original ends with the mark,
# which occurs neither in an id nor in the name of a rendition, so that it is not the key of that rendition.
_SPELLS_A_VARIANT: Final = re.compile(rf".+:{RENDITION_NAME}")
_ORIGINAL_MARK: Final = "|"


def entry_key_part(variant: ImageVariant) -> str:
    """Return ``id`` or ``id:rendition``. No two variants have the same part."""
    image_id, rendition = variant
    if rendition is not None:
        return f"{image_id}:{rendition}"
    if ":" in image_id and _SPELLS_A_VARIANT.fullmatch(image_id):
        return image_id + _ORIGINAL_MARK
    return image_id
