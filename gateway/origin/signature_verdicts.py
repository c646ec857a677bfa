"""What COS has just said of the gateway's signatures, by bucket: accepted, or refused with an error."""

from typing import Final

from gateway.origin.cos_error import CosError

# COS answers these only after it has accepted the signature (COS document 7730).
_OF_ACCEPTED: Final = frozenset(
    {
        "ImageResolutionExceed",
        "ImageTooLarge",
        "InvalidImageFormat",
        "InvalidObjectState",
        "InvalidRange",
        "NoSuchKey",
        "PreconditionFailed",
    }
)
# COS answers these whatever object is requested. A 403 or a 402 is a refusal with any other code, too.
_OF_REFUSED: Final = frozenset({"BucketAccelerateNotEnabled", "ExpiredToken", "NoSuchBucket", "UserCnameInvalid"})


def is_refusal(error: CosError) -> bool | None:
    """Return whether COS refuses to serve the gateway, or None if the error says nothing about that."""
    if error.code in _OF_ACCEPTED:
        return False
    if error.code in _OF_REFUSED or error.status in (402, 403):
        return True
    return None


class SignatureVerdicts:
    """The verdicts of COS on requests for images since they were last taken.

    accepted: a URL of each bucket that COS has accepted. The client adds to it itself, since every request that
        succeeds does so.
    """

    def __init__(self) -> None:
        self.accepted: dict[str, str] = {}
        self._refused: dict[str, CosError] = {}

    def add(self, bucket: str, url: str, error: CosError) -> None:
        """Note an answer of the bucket without an object."""
        match is_refusal(error):
            case True:
                self._refused[bucket] = error
            case False:
                self.accepted[bucket] = url

    def take(self) -> tuple[dict[str, str], dict[str, CosError]]:
        """Return and forget a URL that each bucket accepted, and the last refusal of each bucket."""
        taken = self.accepted, self._refused
        self.accepted, self._refused = {}, {}
        return taken
