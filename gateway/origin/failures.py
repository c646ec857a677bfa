"""What COS fails to return: for a while it is not asked again for a bucket or an object."""

import copy
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway import errors
from gateway.presign.signer import ObjectId, SignedImage

_MOST_BUCKETS: Final = 1024
_MOST_BAD_OBJECTS: Final = 256  # of a bucket
_MOST_FAILED: Final = 4096  # objects
_FINAL_TTL: Final = 3.0  # seconds, so that an object that is uploaded late is served within 5 s
_SHORTEST_HOLD: Final = 1.0  # seconds after the second failure in a row; it doubles with each further one
_LONGEST_HOLD: Final = 4.0
_FORGIVEN_AFTER: Final = 60.0  # seconds without a failure
_FINAL: Final = (errors.ImageBlocked, errors.ImageNotFound, errors.ImageTooLarge)
_PASSING: Final = (errors.OriginThrottled, errors.OriginTimeout, errors.OriginUnavailable)


@dataclass(slots=True)
class _Breaker:
    """The circuit breaker of a bucket of COS: requests are paused while many of its objects fail.

    failing: the objects that failed since the bucket's last answer. bad: those that failed while others were answered.
    """

    failing: set[str] = field(default_factory=set)
    bad: OrderedDict[str, None] = field(default_factory=OrderedDict)
    next_try: float = 0.0


@dataclass(slots=True, eq=False)
class CircuitBreakers:
    """A circuit breaker for each bucket of COS with recent failures, at most 1024: then the oldest is dropped.

    A breaker opens when ``objects`` different objects have failed and none was answered in between. An object that
    always fails counts once, however often it is requested. An object that failed while others were answered does not
    count again before it is answered, and others are tried before it. While the breaker is open, one request in
    ``pause`` seconds is allowed. The first answer closes the breaker.

    ``by_bucket`` is empty while COS works. The client looks there first, so that a request that succeeds calls no
    breaker.
    """

    objects: int = 10
    pause: float = 1.0
    monotonic: Callable[[], float] = time.monotonic
    by_bucket: "OrderedDict[str, _Breaker]" = field(default_factory=OrderedDict)

    def is_open(self, bucket: str) -> bool:
        """Return whether only one request in each pause is allowed."""
        breaker = self.by_bucket.get(bucket)
        return breaker is not None and len(breaker.failing) >= self.objects

    def allows_call(self, bucket: str, object_path: str) -> bool:
        """Return whether to request the object now. While open, True takes the one request of this pause."""
        if not self.is_open(bucket):
            return True
        breaker, now = self.by_bucket[bucket], self.monotonic()
        if now < breaker.next_try + (self.pause if object_path in breaker.bad else 0.0):
            return False
        breaker.next_try = now + self.pause
        return True

    def failed(self, bucket: str, object_path: str) -> None:
        """Record that a request for the object failed."""
        breaker = self.by_bucket.setdefault(bucket, _Breaker())
        if len(self.by_bucket) > _MOST_BUCKETS:
            self.by_bucket.popitem(last=False)
        if object_path not in breaker.bad and not self.is_open(bucket):
            breaker.failing.add(object_path)
        if self.is_open(bucket):
            breaker.next_try = self.monotonic() + self.pause

    def succeeded(self, bucket: str, object_path: str) -> None:
        """Record that the bucket answered a request for the object."""
        breaker = self.by_bucket.get(bucket)
        if breaker is None:
            return
        breaker.bad.update(dict.fromkeys(breaker.failing))
        breaker.failing.clear()
        breaker.bad.pop(object_path, None)
        while len(breaker.bad) > _MOST_BAD_OBJECTS:
            breaker.bad.popitem(last=False)
        if not breaker.bad:
            del self.by_bucket[bucket]


@dataclass(slots=True)
class _Failed:
    """COS's last error for an object, the answer to requests for it until ``until``. Times: monotonic seconds."""

    error: errors.GatewayError
    requested_at: float
    failed_at: float
    until: float
    times: int
    is_of_body: bool

    def again(self) -> errors.GatewayError:
        """Return a copy of the error: the traceback of an error that was raised holds the frames of its request."""
        copied = copy.copy(self.error)
        copied.args = (f"{self.error}; COS is not asked again yet",)
        return copied


@dataclass(slots=True, eq=False)
class FailedObjects:
    """Remembers COS's last error for each object, for at most 4096 objects.

    An object that is missing, blocked or too large is not requested again for 3 s. Any other failure may pass, so the
    first failure is not held. An object that fails again is not requested for 1 s, then 2 s, then 4 s each time.

    ``by_object`` is empty while COS works: callers look there first, so that a request that succeeds costs no call.
    ``changed_at`` returns when an image's row changed last (seconds of ``boot_time``): an answer to an earlier request
    does not count for that image.
    """

    changed_at: Callable[[str], float]
    monotonic: Callable[[], float] = time.monotonic
    by_object: "OrderedDict[ObjectId, _Failed]" = field(default_factory=OrderedDict)

    def check(self, image: SignedImage) -> None:
        """Raise COS's error for the image's object while it is held."""
        failed = self.by_object.get(image.object_id)
        if failed is None or self.monotonic() >= failed.until:
            return
        if failed.requested_at > self.changed_at(image.record.image_id):
            raise failed.again()

    def failed(
        self, object_id: ObjectId, error: errors.GatewayError, requested_at: float, *, is_of_body: bool = False
    ) -> None:
        """Remember COS's answer to a request of ``requested_at``. ``is_of_body``: the body was lost after its start."""
        if not isinstance(error, _FINAL + _PASSING):
            return
        now = self.monotonic()
        before = self.by_object.pop(object_id, None)
        times = before.times + 1 if before is not None and now - before.failed_at < _FORGIVEN_AFTER else 1
        if isinstance(error, _FINAL):
            hold = _FINAL_TTL
        else:
            hold = 0.0 if times == 1 else min(_LONGEST_HOLD, _SHORTEST_HOLD * 2.0 ** (times - 2))
        self.by_object[object_id] = _Failed(copy.copy(error), requested_at, now, now + hold, times, is_of_body)
        if len(self.by_object) > _MOST_FAILED:
            self.by_object.popitem(last=False)

    def opened(self, object_id: ObjectId) -> None:
        """Forget an error, since COS has sent the object's header. Lost bodies still count."""
        failed = self.by_object.get(object_id)
        if failed is not None and not failed.is_of_body:
            del self.by_object[object_id]

    def completed(self, object_id: ObjectId) -> None:
        """Forget every failure, since COS has sent the whole object."""
        self.by_object.pop(object_id, None)
