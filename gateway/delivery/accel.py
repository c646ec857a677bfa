"""Delivery by nginx: the gateway authorizes and decides, nginx fetches the bytes from COS (X-Accel-Redirect).

nginx decodes the URI of an X-Accel-Redirect, which breaks the signature of many keys. So that URI only names one
version of an object, under which nginx may cache it; the exact URL is in another header. Cache-Control and
Content-Disposition also have headers under other names, because nginx would otherwise add them to errors.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from multidict import istr

from gateway.delivery.conditions_and_ranges import Plan
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import ObjectId, SignedImage

# The versions of nginx's files, of which each names itself.
CONFIG_VERSION: Final = istr("X-Gateway-Config-Version")
# nginx sets this field when it did not get the object from COS: the gateway then streams, with retries and resumption.
FAILED = "X-Accel-Failed"
# What follows the prefix in an X-Accel-Redirect.
REDIRECTED = "(?:part/)?[0-9a-f]{40}"
_RENAMED: Final = (b"Cache-Control: ", b"Content-Disposition: ")


def is_accel_conf(headers: Mapping[str, str]) -> bool:
    """Return whether the request says that ``accel.conf`` has passed it on.

    The field is no proof: a caller who forges it gets the URL of an image that he may see.
    """
    return headers.get(CONFIG_VERSION, "").startswith("accel.conf ")


@lru_cache(maxsize=1024)
def fixed_lines(fields: bytes) -> bytes:
    """Return the header lines of an image as nginx gets them."""
    lines = fields.removesuffix(b"\r\n").split(b"\r\n")
    kept = (line for line in lines if not line.startswith(b"Accept-Ranges: "))  # nginx would send it and COS's
    return b"".join((b"X-Image-" if line.startswith(_RENAMED) else b"") + line + b"\r\n" for line in kept)


def order(prefix: str, image: SignedImage, metadata: ObjectMetadata, plan: Plan, *, is_part: bool) -> dict[str, str]:
    """Return the header fields that let nginx send the image.

    is_part: nginx fetches a range of a large object from COS. It cuts a range of a small object out of its cache.
    """
    version = _version(image.object_id, metadata.etag, metadata.last_modified, metadata.size)
    fields = {"X-Accel-Redirect": f"{prefix}{'part/' if is_part else ''}{version}", "X-Origin-URL": image.presigned.url}
    length = metadata.size
    if is_part and plan.last is not None:
        fields["X-Origin-Range"] = f"bytes={plan.first}-{plan.last}"
        length = plan.last + 1 - plan.first
    # nginx compares COS's response with these, and sends the tag as If-Match, too.
    if metadata.strong_etag is not None:
        fields["X-Origin-ETag"] = metadata.strong_etag
    if length is not None:
        fields["X-Origin-Length"] = str(length)
    return fields


@lru_cache(maxsize=1024)
def _version(object_id: ObjectId, etag: str | None, last_modified: str | None, size: int | None) -> str:
    """Return nginx's cache key: the name of one version of one object. The URL is no key, because it changes."""
    bucket, region, key, rendition, *_ = object_id
    named = "\n".join((bucket, region, key, str(rendition), str(etag), str(last_modified), str(size)))
    return hashlib.sha256(named.encode(errors="surrogateescape")).hexdigest()[:40]
