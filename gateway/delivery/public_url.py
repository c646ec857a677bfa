"""Presigned URLs for those who fetch from COS themselves.

COS verifies the parameters that were signed and obeys every other one beside them (COS documents 7753 and 57420):
whoever holds a URL could append ``response-content-type=text/html`` and make a page of the bucket's domain out of an
image. So what the answer is called, and how it is shown, is signed.
"""

import posixpath
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.delivery.headers import is_image
from gateway.delivery.image_request import content_disposition
from gateway.presign.signed_image import PresignedUrl, SignedImage

_MOST_KEPT = 4096
_FORMAT = re.compile(r"format/([a-z0-9]+)")  # of imageMogr2 and imageView2
# Not of the system's list: replicas on different systems must make the same URL.
_TYPES = {
    "apng": "image/apng", "avif": "image/avif", "bmp": "image/bmp", "gif": "image/gif", "heic": "image/heic",
    "heif": "image/heif", "ico": "image/vnd.microsoft.icon", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "png": "image/png", "svg": "image/svg+xml", "tif": "image/tiff", "tiff": "image/tiff", "tpg": "image/tpg",
    "webp": "image/webp",
}  # fmt: skip
# What is of no known type is shown by no browser as a page; <img> looks at the bytes.
_UNKNOWN = "application/octet-stream"
_SCRIPTED = "image/svg+xml"


class Signer(Protocol):
    """What signs."""

    def sign_also(self, image: SignedImage, parameters: Mapping[str, str], *, method: str) -> PresignedUrl:
        """A URL of the same life as the image's own, with more parameters signed."""
        ...


class PublicUrls:
    """Makes of an image's own URL one that may be given away; ``styles`` are COS's processing by name."""

    def __init__(self, signer: Signer, styles: Mapping[str, str]) -> None:
        self._signer = signer
        self._styles = styles
        self._made: OrderedDict[tuple[str, str, str | None, str | None], PresignedUrl] = OrderedDict()

    def presign(self, image: SignedImage, *, method: str = "GET", download: str | None = None) -> PresignedUrl:
        """The URL for ``method``, good for as long as the image's own; to save it as ``download`` if not None."""
        key = (image.presigned.url, method, download, image.record.content_type)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._signer.sign_also(image, self._answer(image, download), method=method)
            if len(self._made) > _MOST_KEPT:
                self._made.popitem(last=False)
        return made

    def _answer(self, image: SignedImage, download: str | None) -> Mapping[str, str]:
        """How COS is to answer."""
        told = self._type_of(image.record, image.style)
        if download is not None:
            disposition = content_disposition(download)
        else:
            # Opened by itself at COS, an SVG would run its scripts: nothing there says that it must not.
            disposition = "attachment" if told == _SCRIPTED else "inline"
        return {"response-content-type": told, "response-content-disposition": disposition}

    def _type_of(self, record: ImageRecord, style: str | None) -> str:
        """That of the style's format, else the row's, else that of the key's ending."""
        made_into = _FORMAT.search(self._styles[style]) if style is not None else None
        if made_into is not None and made_into[1] in _TYPES:
            return _TYPES[made_into[1]]
        if record.content_type is not None and is_image(record.content_type):
            return record.content_type
        return _TYPES.get(posixpath.splitext(record.key)[1].removeprefix(".").lower(), _UNKNOWN)
