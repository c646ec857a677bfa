"""What COS fails to return: the breaker of a bucket, and the failure of an object, which is remembered for seconds."""

import pytest

from gateway.catalog.record import ImageRecord
from gateway.errors import (
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    ImageTooLarge,
    OriginPaused,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
)
from gateway.origin.failures import CircuitBreakers, FailedObjects
from gateway.presign.signer import PresignedUrl, SignedImage
from tests.signed_images import signed_image
from tests.tier import Clock


def breaker(clock: Clock, objects: int = 3) -> CircuitBreakers:
    """Breakers that open after so many objects, and let one call a second try."""
    return CircuitBreakers(objects=objects, pause=1, monotonic=clock)


def test_objects_that_fail_without_an_answer_in_between_open_it() -> None:
    clock = Clock()
    circuit = breaker(clock)
    for path in "aab":
        assert circuit.allows_call("b", path)
        circuit.failed("b", path)
    assert not circuit.is_open("b"), "two objects, however often they are requested"
    circuit.succeeded("b", "c")
    for path in "def":
        assert not circuit.is_open("b")
        circuit.failed("b", path)
    assert circuit.is_open("b")
    assert not circuit.allows_call("b", "g")
    clock.now += 1
    assert circuit.allows_call("b", "g")
    assert not circuit.allows_call("b", "g")
    circuit.succeeded("b", "g")
    assert circuit.allows_call("b", "d")
    assert circuit.allows_call("b", "h")


def test_objects_that_failed_while_others_were_answered_do_not_count_again() -> None:
    """A page of broken images opens it once at most."""
    circuit = breaker(Clock())
    for path in "abc":
        circuit.failed("b", path)
    circuit.succeeded("b", "d")
    for path in "abcabc":
        circuit.failed("b", path)
    assert not circuit.is_open("b")
    circuit.succeeded("b", "a")
    for path in "aef":
        circuit.failed("b", path)
    assert circuit.is_open("b"), "a was answered since"


def test_while_open_other_objects_are_requested_before_one_that_failed() -> None:
    clock = Clock()
    circuit = breaker(clock)
    circuit.failed("b", "bad")
    circuit.succeeded("b", "a")
    for path in "bcd":
        circuit.failed("b", path)
    clock.now += 1
    assert not circuit.allows_call("b", "bad")
    assert circuit.allows_call("b", "e")
    circuit.failed("b", "e")
    clock.now += 2
    assert circuit.allows_call("b", "bad"), "without another request"


def test_the_number_of_remembered_objects_is_bounded() -> None:
    circuit = breaker(Clock(), objects=9_000)
    for number in range(8_999):
        circuit.failed("b", str(number))
    circuit.succeeded("b", "a")  # the last 256 do not count again, the others do
    for number in range(8_999):
        circuit.failed("b", str(number))
    assert not circuit.is_open("b")
    for number in range(256):
        assert not circuit.is_open("b")
        circuit.failed("b", f"new-{number}")
    circuit.failed("b", "new")
    assert circuit.is_open("b")


def test_the_breaker_created_first_is_dropped_when_there_are_too_many() -> None:
    breakers = CircuitBreakers(objects=1)
    breakers.failed("a", "/cat.png")
    assert not breakers.allows_call("a", "/dog.png")
    assert breakers.allows_call("b", "/dog.png"), "each bucket has its own"
    for number in range(1024):
        breakers.failed(f"another-{number}", "/cat.png")
    assert breakers.allows_call("a", "/dog.png")
    assert len(breakers.by_bucket) == 1024


def test_a_breaker_exists_only_while_a_failure_is_remembered() -> None:
    breakers = CircuitBreakers(objects=1)
    breakers.succeeded("a", "/cat.png")
    assert not breakers.by_bucket
    breakers.failed("a", "/cat.png")
    breakers.succeeded("a", "/dog.png")
    assert breakers.by_bucket, "the cat counts as bad until it is answered"
    breakers.succeeded("a", "/cat.png")
    assert not breakers.by_bucket


def image_of(key: str) -> SignedImage:
    """Return an image whose object has that key."""
    return signed_image(ImageRecord(key, None, True, "bucket", "region", key, None), PresignedUrl(key, 0, 0))


CAT = image_of("cat")


def failed_objects(clock: Clock) -> FailedObjects:
    """Return an empty memory; no row has ever changed."""
    return FailedObjects(lambda _: float("-inf"), clock)


def held(failures: FailedObjects, image: SignedImage = CAT) -> GatewayError | None:
    """Return the error that is held; None: COS is asked."""
    try:
        failures.check(image)
    except GatewayError as error:
        return error
    return None


@pytest.mark.parametrize("outcome", [ImageNotFound, ImageBlocked, ImageTooLarge])
def test_a_final_refusal_is_held_at_once(outcome: type[GatewayError]) -> None:
    clock = Clock()
    failures = failed_objects(clock)
    failures.failed(CAT.object_id, outcome("COS answered"), clock())
    assert type(held(failures)) is outcome
    assert held(failures, image_of("dog")) is None
    clock.now += 3
    assert held(failures) is None


@pytest.mark.parametrize("outcome", [OriginUnavailable, OriginTimeout, OriginThrottled])
def test_a_failure_that_may_pass_is_held_from_the_second_on_for_1_then_2_then_4_seconds(
    outcome: type[GatewayError],
) -> None:
    clock = Clock()
    failures = failed_objects(clock)
    failures.failed(CAT.object_id, outcome("COS answered"), clock())
    assert held(failures) is None
    for hold in (1.0, 2.0, 4.0, 4.0):
        failed_at = clock.now
        failures.failed(CAT.object_id, outcome("COS answered"), clock())
        clock.now = failed_at + hold - 1 / 64
        assert type(held(failures)) is outcome
        clock.now = failed_at + hold
        assert held(failures) is None


def test_a_held_error_is_the_one_that_cos_sent() -> None:
    clock = Clock()
    failures = failed_objects(clock)
    for _ in range(2):
        failures.failed(CAT.object_id, OriginThrottled("COS answered 503", wait=17), clock())
    for _ in range(2):
        error = held(failures)
        assert error is not None
        assert error.headers == {"Retry-After": "17"}
        assert str(error) == "COS answered 503; COS is not asked again yet"


def test_neither_a_pause_of_the_bucket_counts_nor_a_failure_before_the_object_opens() -> None:
    clock = Clock()
    failures = failed_objects(clock)
    for error in (OriginPaused("open"), OriginUnavailable("COS answered 500")) * 3:
        failures.failed(CAT.object_id, error, clock())
        failures.opened(CAT.object_id)
    assert held(failures) is None


def test_bodies_that_are_lost_count_until_one_comes_to_its_end() -> None:
    clock = Clock()
    failures = failed_objects(clock)
    for _ in range(2):
        failures.failed(CAT.object_id, OriginUnavailable("lost"), clock(), is_of_body=True)
        failures.opened(CAT.object_id)
    assert held(failures) is not None
    failures.completed(CAT.object_id)
    assert held(failures) is None


def test_an_answer_of_before_the_row_changed_does_not_count_for_the_image() -> None:
    clock = Clock()
    changes = {"cat": float("-inf")}
    failures = FailedObjects(lambda image_id: changes[image_id], clock)
    failures.failed(CAT.object_id, ImageNotFound("gone"), clock())
    assert held(failures) is not None
    changes["cat"] = clock()
    assert held(failures) is None
    clock.now += 0.1
    failures.failed(CAT.object_id, ImageNotFound("gone"), clock())
    assert held(failures) is not None


@pytest.mark.parametrize(("pause", "is_held"), [(60 - 1 / 64, True), (60.0, False)])
def test_a_failure_of_60_seconds_ago_does_not_count(pause: float, is_held: bool) -> None:
    clock = Clock()
    failures = failed_objects(clock)
    failures.failed(CAT.object_id, OriginUnavailable("COS answered 500"), clock())
    clock.now += pause
    failures.failed(CAT.object_id, OriginUnavailable("COS answered 500"), clock())
    assert (held(failures) is not None) == is_held


def test_the_object_whose_last_failure_is_oldest_is_forgotten_first() -> None:
    clock = Clock()
    failures = failed_objects(clock)
    for key in ("cat", "dog", "cat", *map(str, range(4095))):
        failures.failed(image_of(key).object_id, ImageNotFound("gone"), clock())
    assert held(failures, image_of("dog")) is None
    assert held(failures, CAT) is not None
