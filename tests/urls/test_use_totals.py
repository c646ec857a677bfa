"""Totals of accesses: the number in Redis, plus those that this process counted since."""

import pytest

from gateway.presign.signed_image import ImageVariant
from gateway.urls.use_totals import UseTotals
from tests.tier import Clock

A, B = ImageVariant("a"), ImageVariant("b")


@pytest.fixture
def totals(clock: Clock) -> UseTotals:
    return UseTotals(clock)


def test_a_total_grows_by_the_accesses_since(totals: UseTotals) -> None:
    totals.add(A, 5)
    assert totals.get(A) is None, "what is not known does not begin at zero"
    totals.put(A, 10)
    totals.add(A, 5)
    assert (totals.get(A), totals.get(B)) == (15, None)


def test_it_is_fresh_for_half_a_minute_however_often_it_grows(totals: UseTotals, clock: Clock) -> None:
    totals.put(A, 10)
    clock.now += 29
    totals.add(A, 1)
    assert totals.get(A) == 11
    clock.now += 1
    assert (totals.get(A), totals.get_stale(A)) == (None, 11)
    totals.put(A, 20)
    assert totals.get(A) == 20


def test_it_is_not_fresh_when_the_clock_was_set_back(totals: UseTotals, clock: Clock) -> None:
    totals.put(A, 10)
    clock.now -= 3600
    assert totals.get(A) is None


def test_the_one_read_longest_ago_makes_room(totals: UseTotals) -> None:
    for number in range(10_000):
        totals.put(ImageVariant(f"id-{number}"), number)
    totals.put(ImageVariant("id-0"), 7)
    totals.put(A, 1)
    assert (totals.get(ImageVariant("id-0")), totals.get(ImageVariant("id-1"))) == (7, None)
    assert totals.get(A) == 1
