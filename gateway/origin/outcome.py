"""Map a failed attempt to an outcome for the client, and decide whether another attempt may succeed."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.errors import (
    GatewayError,
    ImageArchived,
    ImageBlocked,
    ImageNotFound,
    ImageTooLarge,
    OriginMisconfigured,
    OriginRejected,
    OriginSuspended,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.origin.cos_error import THROTTLED_STATUSES, CosError
from gateway.origin.errors import PresignedUrlRefused, VersionChanged
from gateway.origin.retry import retry_after

_UNSATISFIED_RANGE: Final = re.compile(r"bytes \*/([0-9]{1,19})")
# Codes that say more than their status (COS document 7730, which lists those of image processing, too).
_BY_CODE: Final[Mapping[str, type[GatewayError]]] = {
    "BucketAccelerateNotEnabled": OriginMisconfigured,
    "DomainAuditFailed": ImageBlocked,
    "ImageResolutionExceed": ImageTooLarge,
    "ImageTooLarge": ImageTooLarge,
    "InvalidObjectState": ImageArchived,
    "NoSuchBucket": OriginMisconfigured,
    "PathStyleDomainForbidden": OriginMisconfigured,
    "UnavailableForLegalReasons": ImageBlocked,
    "UserCnameInvalid": OriginMisconfigured,
}
_BY_STATUS: Final[Mapping[int, type[GatewayError]]] = {402: OriginSuspended, 404: ImageNotFound, 451: ImageBlocked}


class Failure(NamedTuple):
    """A failure that another attempt may avoid: its outcome if there is none, and COS's Retry-After in seconds."""

    outcome: OriginUnavailable | OriginThrottled | OriginTimeout
    wait: float = 0.0


def failure_of(error: CosError, headers: Mapping[str, str], reason: str) -> Failure:
    """Return the failure that COS's error means. Raises its outcome if another attempt would get the same answer.

    ``reason`` is for the log. Raises ``PresignedUrlRefused`` if COS may accept a newly signed URL.
    """
    if error.status in THROTTLED_STATUSES:
        wait = retry_after(headers.get("Retry-After"))
        return Failure(OriginThrottled(reason, wait=wait), wait or 0.0)
    if error.status >= 500:
        return Failure(OriginUnavailable(reason))
    if error.status == 412:
        raise VersionChanged
    if error.status == 416:
        raise RangeNotSatisfiable(_size_of(headers.get("Content-Range")))
    outcome = _BY_CODE.get(error.code or "") or _BY_STATUS.get(error.status)
    if outcome is not None:
        raise outcome(reason)
    if error.status == 403 or error.code == "ExpiredToken":
        raise PresignedUrlRefused(error, reason)
    if error.status >= 400:
        raise OriginRejected(reason)
    raise OriginUnavailable(reason)


def _size_of(content_range: str | None) -> int | None:
    """Return the size in ``bytes */size``, or None without one."""
    size = _UNSATISFIED_RANGE.fullmatch(content_range or "")
    return int(size[1]) if size is not None else None
