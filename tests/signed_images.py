"""Signed images made by hand."""

from gateway.catalog.record import ImageRecord
from gateway.presign.signer import AuthorizedImage, ObjectId, PresignedUrl, SignedImage


def signed_image(
    record: ImageRecord, presigned: PresignedUrl, style: str | None = None, read_at: int = 0
) -> AuthorizedImage:
    """The record with any URL, in the form that the authorized look-up returns."""
    named = None
    if style is not None:
        named = ObjectId(record.bucket, record.region, record.key, style, record.focus)
    return AuthorizedImage(SignedImage(record, presigned, style, read_at, named=named, public=record.public))
