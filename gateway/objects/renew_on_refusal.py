"""The rules of renewing a URL that COS refused (403), without I/O: how often, and which row may be sent afterwards."""

from gateway.errors import CredentialsExpired, OriginRefused
from gateway.origin.cos_errors import PresignedUrlRefused, RowChanged
from gateway.presign.signer import AuthorizedImage, PresignedUrl, SignedImage
from gateway.presign.url_lifetime import CLOCK_TOLERANCE


class Renewal:
    """Limits how often a request renews a presigned URL that COS refuses: once, twice if COS's clock differs."""

    _renewals = 0

    def refused(self, refusal: PresignedUrlRefused, presigned: PresignedUrl) -> float | None:
        """Return COS's time for a renewal, None if the clock is right. Raises the client's error after the last one."""
        error = refusal.error
        self._renewals += 1
        if self._renewals == 1:
            return error.clock
        if self._renewals == 2 and error.date is not None and abs(error.date - presigned.signed_at) >= CLOCK_TOLERANCE:
            return error.date
        kind = CredentialsExpired if error.code == "ExpiredToken" else OriginRefused
        outcome = kind(f"COS refused a newly signed URL: {refusal}")
        outcome.cos_code, outcome.cos_request_id = error.code, error.request_id
        raise outcome from refusal


def renewed_image(image: AuthorizedImage, renewed: SignedImage, *, is_sent: bool) -> AuthorizedImage:
    """Return ``image`` on its new URL. Raises ``RowChanged`` unless access was checked for the row as it is now.

    ``is_sent``: the metadata may have been sent. Then only access and the object have to be the same. Requests for
    other rows of the same object may share the transfer: each looks up its own row again.
    """
    is_checked = renewed.record.is_visible_like(image.record) if is_sent else renewed.record == image.record
    if not is_checked or renewed.public != image.public or renewed.object_id != image.object_id:
        raise RowChanged("the row has changed")
    return AuthorizedImage(renewed)
