"""What a client asks of an image, checked before anything is looked up."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import encode_rfc2231
from typing import Self

from aiohttp import hdrs

from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidRequest

# One range only: COS takes no more, and RFC 9110 section 14.2 lets a server ignore what it does not support. There are
# no spaces within a range (section 14.1.1); names of units are case-insensitive (section 14.1).
_SINGLE_RANGE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")
_FILENAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")
_PLAIN_FILENAME = re.compile(r"[A-Za-z0-9 ._-]+")


@dataclass(slots=True)
class ImageRequest:
    """One image as it is wanted.

    ``byte_range`` is the value of the Range header to send to COS, None for the whole image; ``download`` is the file
    name to save it under, None to show it.
    """

    image_id: str
    style: str | None
    download: str | None
    redirect: bool
    byte_range: str | None

    @classmethod
    def parse(cls, image_id: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Self:
        """Raises ``InvalidImageId`` or ``InvalidRequest``; an unusable Range is ignored (RFC 9110 section 14.2)."""
        if not query:  # as nearly all requests are
            byte_range = _single_range(headers[hdrs.RANGE]) if hdrs.RANGE in headers else None
            return cls(parse_image_id(image_id), None, None, False, byte_range)
        return cls(
            image_id=parse_image_id(image_id),
            style=query.get("style"),
            download=_file_name(query.get("download")),
            redirect=_flag(query.get("redirect")),
            byte_range=_single_range(headers.get(hdrs.RANGE)),
        )


def content_disposition(file_name: str) -> str:
    """``attachment`` with the name as RFC 6266 section 4.1 asks: a plain one for all, RFC 8187 beside it if need be."""
    plain = "".join(char if _PLAIN_FILENAME.fullmatch(char) else "_" for char in file_name)
    value = f'attachment; filename="{plain}"'
    if plain != file_name:
        value += f"; filename*={encode_rfc2231(file_name, 'UTF-8')}"
    return value


def _file_name(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("download is not valid UTF-8") from None
    if not _FILENAME.fullmatch(text):
        raise InvalidRequest("download must be a file name of 1 to 255 characters, without slashes")
    return text


def _flag(text: str | None) -> bool:
    match text:
        case None | "false" | "0":
            return False
        case "true" | "1":
            return True
        case _:
            raise InvalidRequest("redirect must be true or false")


def _single_range(text: str | None) -> str | None:
    found = _SINGLE_RANGE.fullmatch(text) if text is not None else None
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        return f"bytes=-{suffix}"
    if last is not None and int(last) < int(first):
        return None  # RFC 9110 section 14.1.1: not a valid range, so there is none
    return f"bytes={first}-{last or ''}"
