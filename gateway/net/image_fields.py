"""Values of header fields that describe an image: its type, and the name that it is saved under."""

import re
from email.utils import encode_rfc2231

_IMAGE = re.compile(r"image/[a-z0-9!#$&^_.+-]+")  # RFC 6838 section 4.2
_PLAIN_FILENAME = re.compile(r"[A-Za-z0-9 ._-]+")


def is_image(media_type: str) -> bool:
    """Return whether it is ``image/*`` without parameters."""
    return _IMAGE.fullmatch(media_type) is not None


def content_disposition(file_name: str) -> str:
    """Return ``attachment`` with the file name (RFC 6266 section 4.1), in both forms if it is not plain ASCII."""
    plain = "".join(char if _PLAIN_FILENAME.fullmatch(char) else "_" for char in file_name)
    value = f'attachment; filename="{plain}"'
    if plain != file_name:
        value += f"; filename*={encode_rfc2231(file_name, 'UTF-8')}"
    return value
