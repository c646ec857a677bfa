"""The results of the resolver."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from gateway.catalog.record import ImageRecord
from gateway.presign.signed_image import PresignedUrl, SignedImage

Image = TypeVar("Image", bound=SignedImage, covariant=True)


class Resolved(NamedTuple, Generic[Image]):
    """An image with a URL that may be used, and whether the URL came from a cache."""

    image: Image
    from_cache: bool


@dataclass(frozen=True, slots=True)
class Known:
    """An image's row, and its cached URL. None when no cached URL may be used."""

    record: ImageRecord
    presigned: PresignedUrl | None
