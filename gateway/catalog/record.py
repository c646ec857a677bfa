"""What the application's table says of an image."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One servable row: where the object is, and who may see it.

    ``key`` is the object key as COS knows it. ``owner`` is None when nobody owns the image; ``content_type`` is None
    when the application does not know it. ``links_killed`` is how often all its signed links have been killed;
    None when that was not asked.
    """

    image_id: str
    owner: str | None
    public: bool
    bucket: str
    region: str
    key: str
    content_type: str | None
    links_killed: int | None = None


# Narrower than what the SDK takes: a name that it refuses must not get as far as there.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9]+")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]*[a-z0-9]")


def check_place(bucket: str, region: str) -> None:
    """Raise ``ValueError`` when COS could have no such bucket or region: both become part of a host's name."""
    if not _BUCKET.fullmatch(bucket) or not _REGION.fullmatch(region) or len(bucket) > 60:
        raise ValueError("the bucket or region is not one that COS could have")


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query found, by image id: those that can be served, and why others that are there cannot."""

    records: Mapping[str, ImageRecord]
    unusable: Mapping[str, str]


class InvalidObjectKey(ValueError):
    """A key that COS would refuse, or that would name the bucket and not an object."""


def check_object_key(key: str) -> str:
    """Return ``key`` if it names one object, else raise ``InvalidObjectKey``.

    COS takes 1 to 850 bytes of UTF-8 (COS document 14518). A key that folds to ``/`` presigns the listing of the
    bucket (the SDK refuses it in ``get_object``, but not in ``get_presigned_url``).
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidObjectKey("the key is not valid Unicode") from None
    if not 1 <= size <= 850:
        raise InvalidObjectKey(f"the key has {size} bytes, COS takes 1 to 850")
    folded: list[str] = []
    for part in key.split("/"):
        if part == "..":
            del folded[-1:]
        elif part not in ("", "."):
            folded.append(part)
    if not folded:
        raise InvalidObjectKey("the key names the bucket, not an object")
    return key
