"""Requests to COS and their failures by bucket and code, both from bounded sets."""

from collections.abc import Collection
from typing import Final

from gateway.metrics.loop_counters import LoopCounter
from gateway.origin.cos_error import THROTTLED_STATUSES, CosError

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
        "InvalidImageFormat",
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
_MOST_OTHER_CODES: Final = 50  # beside the documented ones; COS adds codes, and documents those of processing elsewhere
NO_CODE: Final = "none"
NO_ANSWER: Final = "no_answer"
TIMEOUT: Final = "timeout"
BODY_LOST: Final = "body_lost"
_THROTTLED: Final = "SlowDown"
_OTHER: Final = "other"
_OWN: Final = frozenset({NO_CODE, NO_ANSWER, TIMEOUT, BODY_LOST})


class OriginErrorCounts:
    """Counts requests and errors by bucket (``buckets`` and the first 50 others) and by COS's code.

    A code that this file does not list has a label of its own, too: the first 50 of them, and "other" for the rest. The
    series of ``buckets`` and listed codes start at 0, so that ``rate()`` sees the first increase.
    """

    def __init__(
        self, errors: LoopCounter, requests: LoopCounter, slow: LoopCounter, buckets: Collection[str] = ()
    ) -> None:
        self._errors = errors
        self._slow = slow
        self._requests = requests
        self.buckets = set(buckets)
        self._codes = set(_DOCUMENTED_CODES | _OWN)
        self._most_codes = len(self._codes) + _MOST_OTHER_CODES
        self._most = len(self.buckets) + _MOST_BUCKETS
        for bucket in self.buckets:
            requests.add((bucket,), 0)
            slow.add((bucket,), 0)
            for code in self._codes:
                errors.add((bucket, code), 0)

    def request(self, bucket: str) -> None:
        self._requests.add((self._label(bucket),))

    def slow(self, bucket: str) -> None:
        """Count an answer that took long."""
        self._slow.add((self._label(bucket),))

    def add(self, bucket: str, code: str) -> None:
        """Count an error. ``code`` is COS's, or ``NO_ANSWER``, ``TIMEOUT`` or ``BODY_LOST``."""
        if code not in self._codes and len(self._codes) < self._most_codes:
            self._codes.add(code)
        self._errors.add((self._label(bucket), code if code in self._codes else _OTHER))

    def answer(self, bucket: str, error: CosError) -> None:
        """Count an error that COS answered. Without a code, as in every answer to HEAD, the status may name it."""
        self.add(bucket, error.code or (_THROTTLED if error.status in THROTTLED_STATUSES else NO_CODE))

    def _label(self, bucket: str) -> str:
        if bucket in self.buckets:
            return bucket
        if len(self.buckets) >= self._most:
            return _OTHER
        self.buckets.add(bucket)
        return bucket
