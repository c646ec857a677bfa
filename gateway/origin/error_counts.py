"""Requests to COS and their failures by bucket and code, both from closed sets."""

from collections.abc import Collection
from typing import Final

from gateway.metrics.loop_counters import LoopCounter

_MOST_BUCKETS: Final = 50  # with their own label, since rows may name any number of buckets
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
    """Counts requests and errors by bucket (``buckets`` and the first 50 others) and by documented code, else "other".

    The series of ``buckets`` start at 0, so that ``rate()`` sees the first increase.
    """

    def __init__(self, errors: LoopCounter, requests: LoopCounter, buckets: Collection[str] = ()) -> None:
        self._errors = errors
        self._requests = requests
        self.buckets = set(buckets)
        self._most = len(self.buckets) + _MOST_BUCKETS
        for bucket in self.buckets:
            requests.add((bucket,), 0)
            for code in _DOCUMENTED_CODES | _OWN:
                errors.add((bucket, code), 0)

    def request(self, bucket: str) -> None:
        self._requests.add((self._label(bucket),))

    def add(self, bucket: str, code: str) -> None:
        """Count an error. ``code`` is COS's, or ``NO_CODE``, ``NO_ANSWER`` or ``TIMEOUT``."""
        self._errors.add((self._label(bucket), code if code in _DOCUMENTED_CODES or code in _OWN else _OTHER))

    def _label(self, bucket: str) -> str:
        if bucket in self.buckets:
            return bucket
        if len(self.buckets) >= self._most:
            return _OTHER
        self.buckets.add(bucket)
        return bucket
