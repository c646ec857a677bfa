"""Presigned URLs given to clients, which fetch from COS themselves.

COS verifies the signed parameters, and also obeys any unsigned one (COS documents 7753 and 57420): anyone could append
``response-content-type=text/html`` and turn an image into a page of the bucket's domain. So the type and disposition of
the response are signed. An unsigned rule may turn a rendition into the original: see ``keeps_original``.
"""

import posixpath
import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired
from gateway.net.http_fields import content_disposition, is_image
from gateway.presign.credentials import Credentials
from gateway.presign.signer import AuthorizedImage, PresignedUrl, SignedImage, Signer

_MOST_KEPT = 4096
_FORMAT = re.compile(r"format/([a-z0-9]+)")  # of imageMogr2 and imageView2
# Not the system's list: replicas on different systems must make the same URL.
_TYPES = {
    "apng": "image/apng", "avif": "image/avif", "bmp": "image/bmp", "gif": "image/gif", "heic": "image/heic",
    "heif": "image/heif", "ico": "image/vnd.microsoft.icon", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "png": "image/png", "svg": "image/svg+xml", "tif": "image/tiff", "tiff": "image/tiff", "tpg": "image/tpg",
    "webp": "image/webp",
}  # fmt: skip
# No browser shows this type as a page; <img> detects the format from the bytes.
_UNKNOWN = "application/octet-stream"
_SCRIPTED = "image/svg+xml"


@dataclass(slots=True, eq=False)
class PublicUrls:
    """Makes presigned URLs of COS for clients, which fetch the bytes themselves.

    is_usable: whether a URL lives long enough for a client.
    strict_buckets: buckets that refuse a URL with a parameter that is not signed.
    """

    signer: Signer
    is_usable: Callable[[PresignedUrl], bool] = lambda _: True
    strict_buckets: Collection[str] = ()
    _made: "OrderedDict[tuple[Credentials, str, int, str, str | None, str | None, bool], PresignedUrl]" = field(
        default_factory=OrderedDict, init=False
    )

    def presign(self, image: AuthorizedImage, *, method: str = "GET", download: str | None = None) -> PresignedUrl:
        """Return a URL for ``method`` that expires with the image's own. ``download`` is a file name to save it as.

        Raises ``CredentialsExpired`` when this replica's credentials end before any URL is usable.
        """
        name, record, renditions = image.rendition, image.record, self.signer.renditions.value
        # COS sends the original if it cannot make a variant: its holder may have it, and the styles have widths.
        ignores_errors = (
            name is not None
            and renditions.get(name).width is not None
            and not renditions.withholds_original(name, image_is_public=record.public)
        )
        credentials = self.signer.credentials_of(record.bucket)
        url, end = image.presigned.url, image.presigned.expires_at
        key = (credentials, url, end, method, download, record.content_type, ignores_errors)
        made = self._made.get(key)
        if made is None:
            content_type = self._type_of(record, name)
            # Opened as a page, an SVG runs its scripts: COS sends no Content-Security-Policy.
            disposition = "attachment" if content_type == _SCRIPTED else "inline"
            if download is not None:
                disposition = content_disposition(download)
            answer = {"response-content-type": content_type, "response-content-disposition": disposition}
            made = self.signer.sign_also(image, answer, method=method, ignores_errors=ignores_errors)
            if made.expires_at < end:
                # Another replica signed the image's URL with credentials that end later. The next ones here may, too.
                if not self.is_usable(made):
                    raise CredentialsExpired(f"the security token ends at {made.expires_at}")
                return made
            self._made[key] = made
            if len(self._made) > _MOST_KEPT:
                self._made.popitem(last=False)
        return made

    def keeps_original(self, image: SignedImage) -> bool:
        """Return whether everybody who may see the image may have its URL, with which COS may send the original."""
        name, record = image.rendition, image.record
        if name is None or record.bucket in self.strict_buckets:
            return True
        return not self.signer.renditions.value.withholds_original(name, image_is_public=record.public)

    def _type_of(self, record: ImageRecord, rendition: str | None) -> str:
        """Return the type of the rendition's format, else the row's, else that of the key's extension."""
        renditions = self.signer.renditions.value
        format_in_rule = _FORMAT.search(renditions.get(rendition).template) if rendition is not None else None
        if format_in_rule is not None and format_in_rule[1] in _TYPES:
            return _TYPES[format_in_rule[1]]
        if record.content_type is not None and is_image(record.content_type):
            return record.content_type
        return _TYPES.get(posixpath.splitext(record.key)[1].removeprefix(".").lower(), _UNKNOWN)
