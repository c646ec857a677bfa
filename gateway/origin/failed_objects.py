"""Objects that COS refused: for some seconds their requests get the same error, and COS is not asked."""

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
    ImageTooLarge,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
)
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
    """COS's last answer, to a request of ``requested_at``, held until ``until``. All times are monotonic seconds."""

    error: GatewayError
    requested_at: float
    failed_at: float
    until: float
    times: int
    is_of_body: bool


class FailedObjects:
    """COS's last error for each object, for at most 4096 objects.

    An object that is missing, blocked or too large is not requested again for 3 s. Any other failure may pass, so the
    first failure is not held. An object that fails again is not requested for 1 s, then 2 s, then 4 s each time.

    ``by_object`` is empty while COS works: callers look there first, so that a request that succeeds costs no call.
    ``changed_at`` returns when an image's row changed last (seconds of ``boot_time``): an answer to an earlier request
    does not count for that image.
    """

    def __init__(self, changed_at: Callable[[str], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self.now = monotonic
        self._changed_at = changed_at
        self.by_object: OrderedDict[ObjectId, _Failed] = OrderedDict()

    def check(self, image: SignedImage) -> None:
        """Raise COS's error for the image's object while it is held."""
        failed = self.by_object.get(image.object_id)
        if (
            failed is None
            or self.now() >= failed.until
            or failed.requested_at <= self._changed_at(image.record.image_id)
        ):
            return
        raise _again(failed.error)

    def failed(
        self, object_id: ObjectId, error: GatewayError, requested_at: float, *, is_of_body: bool = False
    ) -> None:
        """Remember COS's answer to a request of ``requested_at``. ``is_of_body``: the body was lost after its start."""
        if not isinstance(error, _FINAL + _PASSING):
            return
        now = self.now()
        before = self.by_object.pop(object_id, None)
        times = before.times + 1 if before is not None and now - before.failed_at < _FORGIVEN_AFTER else 1
        self.by_object[object_id] = _Failed(
            copy.copy(error), requested_at, now, now + _hold(error, times), times, is_of_body=is_of_body
        )
        if len(self.by_object) > _MOST_OBJECTS:
            self.by_object.popitem(last=False)

    def opened(self, object_id: ObjectId) -> None:
        """Forget an error, since COS has sent the object's header. Lost bodies still count."""
        failed = self.by_object.get(object_id)
        if failed is not None and not failed.is_of_body:
            del self.by_object[object_id]

    def completed(self, object_id: ObjectId) -> None:
        """Forget every failure, since COS has sent the whole object."""
        self.by_object.pop(object_id, None)


def _again(error: GatewayError) -> GatewayError:
    """Return a copy: the traceback of an error that was raised holds the frames of its request."""
    copied = copy.copy(error)
    copied.args = (f"{error}; COS is not asked again yet",)
    return copied


def _hold(error: GatewayError, times: int) -> float:
    """Return the seconds for which COS is not asked after that many failures in a row."""
    if isinstance(error, _FINAL):
        return _FINAL_TTL
    return 0.0 if times == 1 else min(_LONGEST_HOLD, _SHORTEST_HOLD * 2.0 ** (times - 2))
