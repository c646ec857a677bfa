"""Number and pauses of the resumptions of a lost body."""

import pytest

from gateway.origin.errors import BodyLost, BodyTooSlow
from gateway.origin.resumption import Resumption, ResumptionLimits
from gateway.origin.retry import Backoff

LIMITS = ResumptionLimits(resumes=2, backoff=Backoff(random=lambda: 1.0), progress=100)
LOSS = BodyLost("lost")


@pytest.fixture
def resumption() -> Resumption:
    """Return the resumption of a body that was not lost yet."""
    return Resumption(LIMITS)


def test_a_body_without_progress_is_given_up_after_the_configured_number_of_resumptions(resumption: Resumption) -> None:
    assert resumption.pause(LOSS, 10) == 0.0, "the first is resumed at once"
    resumption.used()
    assert resumption.pause(LOSS, 20) == 0.1
    resumption.used()
    assert resumption.pause(LOSS, 30) is None


def test_progress_restores_the_number_of_resumptions(resumption: Resumption) -> None:
    for received in range(100, 1000, 100):
        assert resumption.pause(LOSS, received) == 0.0
        resumption.used()


def test_progress_counts_from_the_first_byte_of_the_body() -> None:
    resumption = Resumption(ResumptionLimits(1, LIMITS.backoff, 100), received=1000)
    resumption.pause(LOSS, 1050)
    resumption.used()
    assert resumption.pause(LOSS, 1149) is None
    assert resumption.pause(LOSS, 1249) == 0.0


def test_a_resumption_that_cos_did_not_answer_is_not_counted(resumption: Resumption) -> None:
    assert [resumption.pause(LOSS, 0) for _ in range(5)] == [0.0] * 5


def test_a_body_that_was_too_slow_is_resumed_once(resumption: Resumption) -> None:
    slow = BodyTooSlow("slow")
    assert resumption.pause(slow, 500) == 0.0
    assert resumption.pause(slow, 5000) is None
