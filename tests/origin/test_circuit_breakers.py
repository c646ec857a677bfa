"""The breaker of a bucket: what many objects say of it, and what one object says of itself."""

from gateway.origin.failures import BucketBreaker, CircuitBreakers
from tests.tier import Clock


def breaker(clock: Clock, objects: int = 3) -> BucketBreaker:
    """One that opens after so many objects, and lets one call a second try."""
    return BucketBreaker(objects=objects, pause=1, monotonic=clock)


def test_objects_that_fail_without_an_answer_in_between_open_it() -> None:
    clock = Clock()
    circuit = breaker(clock)
    for path in "aab":
        assert circuit.allows_call(path)
        circuit.failed(path)
    circuit.succeeded("c")
    for path in "def":
        assert not circuit.is_open
        circuit.failed(path)
    assert circuit.is_open
    assert not circuit.allows_call("g")
    clock.now += 1
    assert circuit.allows_call("g")
    assert not circuit.allows_call("g")
    circuit.succeeded("g")
    assert circuit.allows_call("d")
    assert circuit.allows_call("h")


def test_one_object_never_opens_it() -> None:
    circuit = breaker(Clock())
    for _ in range(100):
        circuit.failed("a")
    assert not circuit.is_open


def test_objects_that_failed_while_others_were_answered_do_not_count_again() -> None:
    """A page of broken images opens it once at most."""
    circuit = breaker(Clock())
    for path in "abc":
        circuit.failed(path)
    circuit.succeeded("d")
    for path in "abcabc":
        circuit.failed(path)
    assert not circuit.is_open
    circuit.succeeded("a")
    assert not circuit.is_calm
    for path in "aef":
        circuit.failed(path)
    assert circuit.is_open, "a was answered since"


def test_while_open_other_objects_are_requested_before_one_that_failed() -> None:
    clock = Clock()
    circuit = breaker(clock)
    circuit.failed("bad")
    circuit.succeeded("a")
    for path in "bcd":
        circuit.failed(path)
    clock.now += 1
    assert not circuit.allows_call("bad")
    assert circuit.allows_call("e")
    circuit.failed("e")
    clock.now += 2
    assert circuit.allows_call("bad"), "without another request"


def test_the_number_of_remembered_objects_is_bounded() -> None:
    circuit = breaker(Clock(), objects=9_000)
    for number in range(8_999):
        circuit.failed(str(number))
    circuit.succeeded("a")  # the last 256 do not count again, the others do
    for number in range(8_999):
        circuit.failed(str(number))
    assert not circuit.is_open
    for number in range(256):
        assert not circuit.is_open
        circuit.failed(f"new-{number}")
    circuit.failed("new")
    assert circuit.is_open


def test_each_bucket_has_a_breaker_of_its_own() -> None:
    breakers = CircuitBreakers()
    for number in range(10):
        breakers.failed("one", str(number))
    breakers.failed("other", "cat")
    assert breakers.is_open("one")
    assert not breakers.is_open("other")
    assert not breakers.is_open("a third")
    assert breakers.allows_call("a third", "cat")


def test_the_breaker_created_first_is_dropped_when_there_are_too_many() -> None:
    breakers = CircuitBreakers(lambda: BucketBreaker(objects=1))
    breakers.failed("a", "/cat.png")
    assert not breakers.allows_call("a", "/dog.png")
    for number in range(1024):
        breakers.failed(f"another-{number}", "/cat.png")
    assert breakers.allows_call("a", "/dog.png")
    assert len(breakers.by_bucket) == 1024


def test_a_breaker_exists_only_while_a_failure_is_remembered() -> None:
    breakers = CircuitBreakers(lambda: BucketBreaker(objects=1))
    breakers.succeeded("a", "/cat.png")
    assert not breakers.by_bucket
    breakers.failed("a", "/cat.png")
    breakers.succeeded("a", "/dog.png")
    assert breakers.by_bucket, "the cat counts as bad until it is answered"
    breakers.succeeded("a", "/cat.png")
    assert not breakers.by_bucket
