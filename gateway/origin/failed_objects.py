"""Objects that COS does not give out: for some seconds they are answered from memory, and COS is not asked."""

import copy
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.errors import (
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
)
from gateway.origin.refusals import ImageTooLarge
from gateway.presign.signed_image import ObjectId, SignedImage

_MOST_OBJECTS: Final = 4096
_FINAL_TTL: Final = 3.0  # seconds, so that an object that is uploaded late is served within 5 s
_SHORTEST_HOLD: Final = 1.0  # seconds after the second failure in a row; it doubles with each further one
_LONGEST_HOLD: Final = 4.0
_FORGIVEN_AFTER: Final = 60.0  # seconds without a failure

_FINAL: Final = (ImageBlocked, ImageNotFound, ImageTooLarge)
_PASSING: Final = (OriginThrottled, OriginTimeout, OriginUnavailable)


@dataclass(slots=True)
class _Failed:
    """What COS answered last to a request of ``asked_at``; held until ``until``. All times are monotonic seconds."""

    error: GatewayError
    asked_at: float
    failed_at: float
    until: float
    times: int
    is_of_body: bool


class FailedObjects:
    """Remembers by object what COS answered; bounded in number.

    That an object is gone, blocked or too large is remembered for 3 s. Any other failure may pass, so the first one is
    not held; an object that fails again is left alone for 1 s, then 2 s, then 4 s each time.

    ``changed_at`` tells when an image's row changed last (monotonic seconds): what COS answered to a request of before
    does not count for that image.
    """

    def __init__(self, changed_at: Callable[[str], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self.now = monotonic
        self._changed_at = changed_at
        self._failed: OrderedDict[ObjectId, _Failed] = OrderedDict()

    def check(self, image: SignedImage) -> None:
        """Raise what COS answered for the image's object, while that is held."""
        failed = self._failed.get(image.object_id)
        if failed is None or self.now() >= failed.until or failed.asked_at <= self._changed_at(image.record.image_id):
            return
        raise _again(failed.error)

    def failed(self, object_id: ObjectId, error: GatewayError, asked_at: float, *, is_of_body: bool = False) -> None:
        """COS answered ``error`` to a request of ``asked_at``, or the body that it began was lost."""
        if not isinstance(error, _FINAL + _PASSING):
            return
        now = self.now()
        before = self._failed.pop(object_id, None)
        times = before.times + 1 if before is not None and now - before.failed_at < _FORGIVEN_AFTER else 1
        self._failed[object_id] = _Failed(
            copy.copy(error), asked_at, now, now + _hold(error, times), times, is_of_body=is_of_body
        )
        if len(self._failed) > _MOST_OBJECTS:
            self._failed.popitem(last=False)

    def opened(self, object_id: ObjectId) -> None:
        """COS has begun to give the object out: what it refused before is over, not that its bodies end early."""
        failed = self._failed.get(object_id)
        if failed is not None and not failed.is_of_body:
            del self._failed[object_id]

    def completed(self, object_id: ObjectId) -> None:
        """COS has given the object out to its end."""
        self._failed.pop(object_id, None)


def _again(error: GatewayError) -> GatewayError:
    """A copy, since the traceback of one that was raised holds the request that it was raised for."""
    copied = copy.copy(error)
    copied.args = (f"{error}; COS is not asked again yet",)
    return copied


def _hold(error: GatewayError, times: int) -> float:
    """Seconds for which COS is not asked after so many failures in a row."""
    if isinstance(error, _FINAL):
        return _FINAL_TTL
    return 0.0 if times == 1 else min(_LONGEST_HOLD, _SHORTEST_HOLD * 2.0 ** (times - 2))
