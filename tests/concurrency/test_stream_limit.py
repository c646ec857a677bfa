"""Load has a limit."""

import pytest

from gateway.concurrency.stream_limit import StreamLimit
from gateway.errors import Overloaded


def test_one_more_than_the_limit_is_refused_and_a_place_that_is_left_is_free_again() -> None:
    limit = StreamLimit(2)
    limit.take()
    limit.take()
    for _ in range(2):
        with pytest.raises(Overloaded):
            limit.take()
    limit.give_back()
    limit.take()
    with pytest.raises(Overloaded):
        limit.take()
