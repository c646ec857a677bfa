"""Load has a limit."""

import pytest

from gateway.delivery.limit import StreamLimit
from gateway.errors import Overloaded


def test_one_more_than_the_limit_is_refused_and_a_place_that_is_left_is_free_again() -> None:
    limit = StreamLimit(2)
    with limit:
        with limit:
            with pytest.raises(Overloaded), limit:
                pytest.fail("there was no place")
        with limit:
            pass


def test_a_failure_gives_its_place_back() -> None:
    limit = StreamLimit(1)
    for _ in range(3):
        with pytest.raises(KeyError), limit:
            raise KeyError
