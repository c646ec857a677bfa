"""Signed images whose URLs live long enough to be used."""

import time
from collections.abc import Callable

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired
from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import PresignedUrl, SignedImage
from gateway.presign.signer import Signer


class UsableUrls:
    """Signs images, and says which of their URLs may be used now. ``now`` is COS's clock."""

    def __init__(self, signer: Signer, lifetime: Lifetime, now: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._lifetime = lifetime
        self.now = now

    def has_rendition(self, rendition: str) -> bool:
        """Return whether the rendition can be signed."""
        return self._signer.has_rendition(rendition)

    def sign(self, record: ImageRecord, rendition: str | None, read_at: int, *, fresh: bool = False) -> SignedImage:
        """Return the image with a URL that may be used. Raises ``CredentialsExpired``."""
        image = self._signer.sign_image(record, rendition, read_at=read_at, fresh=fresh)
        if not self.may_be_used(image):
            raise CredentialsExpired(f"the security token ends at {image.presigned.expires_at}")
        return image

    def sign_for_head(self, image: SignedImage) -> PresignedUrl:
        """Return the image's URL for HEAD, which COS refuses on a URL signed for GET."""
        return self._signer.sign(image.record, image.rendition, method="HEAD")

    def may_be_used(self, image: SignedImage) -> bool:
        """Return whether the image's URL may be used."""
        return self._lifetime.is_usable(image.presigned, self.now())

    def usable_for(self, image: SignedImage) -> float:
        """Return the seconds for which the image's URL may be used. Zero or less: it must not be used any more."""
        return self._lifetime.usable_for(image.presigned, self.now())
