"""The memory that a URL takes in the local tier, as the benchmark keeps it."""

import tracemalloc

from bench.local_memory import keeper

_IMAGES = 2000
_GOAL = 1072  # bytes: 100 MiB for 100,000, and the two fields of a row that most tables lack (viewers, alias)


def test_a_url_takes_no_more_than_its_goal() -> None:
    keep, first = keeper(_IMAGES), keeper(_IMAGES)
    for number in range(_IMAGES):  # what all images share grows here
        first(number)
    keep(0)
    tracemalloc.start()
    try:
        for number in range(_IMAGES):
            keep(number)
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used / _IMAGES < _GOAL
