"""The way of a change keeps its promise in every run of these seeds, and a run is the same each time."""

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.run import describe, run_seed

_SEEDS = 20  # of a test
_TESTS = 12


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Outages are what it is about: they are not logged."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, _SEEDS * _TESTS, _SEEDS))
def test_the_promise_is_kept(first: int) -> None:
    for seed in range(first, first + _SEEDS):
        if run_seed(seed).failure is not None:
            pytest.fail(describe(seed), pytrace=False)


def test_a_seed_is_the_same_run_each_time() -> None:
    runs = [run_seed(3) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0].notes
