"""The faults that the playground turns on and off."""

import pytest

from gateway_dev.cos_emulator.faults import Fault, Faults, Hang, Refuse
from gateway_dev.playground import NamedFaults


@pytest.fixture
def faults() -> Faults:
    return Faults()


def test_faults_of_others_stay(faults: Faults) -> None:
    other = Fault(action=Hang(), times=None)
    faults.add(other)
    named = NamedFaults(faults)
    assert named.active() == []
    named.turn_on("hang")
    named.turn_off("hang")
    assert [armed.fault for armed in faults.armed] == [other]


def test_an_expired_url_is_refused_once_for_each_object(faults: Faults) -> None:
    named = NamedFaults(faults)
    named.expire(["a [1].png", "b.png"])
    (expired,) = faults.fire("GET", "a [1].png").alterations
    assert isinstance(expired, Refuse)
    assert (expired.status, expired.message) == (403, "Request has expired")
    assert faults.fire("GET", "a [1].png").alterations == [], "the new URL works"
    assert faults.fire("GET", "a 1.png").alterations == []
    assert faults.fire("GET", "b.png").alterations == [expired]


def test_what_has_expired_does_not_pile_up(faults: Faults) -> None:
    named = NamedFaults(faults)
    for _ in range(10):
        named.expire(["a.png"])
        faults.fire("GET", "a.png")
    assert len(faults.armed) == 1
