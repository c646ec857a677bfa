"""The syntax of image ids, checked before any I/O."""

import re
from typing import Final

from gateway.errors import InvalidImageId

PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}"
_IMAGE_ID = re.compile(PATTERN)


def parse_image_id(text: str) -> str:
    """Return ``text`` if it is an image id, else raise ``InvalidImageId``.

    The syntax excludes NUL, slashes, control characters, lone surrogates and all other characters that could break a
    query, a Redis key or a log line.
    """
    if _IMAGE_ID.fullmatch(text) is None:
        raise InvalidImageId
    return text
