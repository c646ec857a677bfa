"""Failures of COS by bucket and code, both from closed sets."""

from collections.abc import Callable, Collection
from typing import Final

_MOST_BUCKETS: Final = 50  # with a label of their own; rows may name any number of buckets
_DOCUMENTED_CODES: Final = frozenset(
    {
        "AccessDenied",
        "BucketAccelerateNotEnabled",
        "DomainAuditFailed",
        "ExpiredToken",
        "ImageResolutionExceed",
        "ImageTooLarge",
        "InternalError",
        "InvalidAccessKeyId",
        "InvalidArgument",
        "InvalidObjectState",
        "InvalidRange",
        "InvalidRequest",
        "InvalidURI",
        "MethodNotAllowed",
        "NoSuchBucket",
        "NoSuchKey",
        "PathStyleDomainForbidden",
        "PaymentRequired",
        "PreconditionFailed",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ServiceUnavailable",
        "SignatureDoesNotMatch",
        "SlowDown",
        "UnavailableForLegalReasons",
        "UserCnameInvalid",
    }
)
NO_CODE: Final = "none"
NO_ANSWER: Final = "no_answer"
TIMEOUT: Final = "timeout"
_OTHER: Final = "other"
_OWN: Final = frozenset({NO_CODE, NO_ANSWER, TIMEOUT})


class OriginErrorCounts:
    """Counts errors by bucket (``buckets`` and the first 50 others) and by documented code; the rest as "other".

    ``count`` is called with the values of both labels.
    """

    def __init__(self, count: Callable[[tuple[str, str]], None], buckets: Collection[str] = ()) -> None:
        self._count = count
        self._buckets = set(buckets)
        self._most = len(self._buckets) + _MOST_BUCKETS

    def add(self, bucket: str, code: str) -> None:
        """Count an error; ``code`` is COS's, or ``NO_CODE``, ``NO_ANSWER`` or ``TIMEOUT``."""
        if bucket not in self._buckets:
            if len(self._buckets) >= self._most:
                bucket = _OTHER
            else:
                self._buckets.add(bucket)
        self._count((bucket, code if code in _DOCUMENTED_CODES or code in _OWN else _OTHER))
