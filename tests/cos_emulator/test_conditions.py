"""Preconditions and ranges as pure functions."""

import pytest
from multidict import CIMultiDict

from gateway_dev.cos_emulator.conditions import ByteRange, Outcome, evaluate, parse_range
from gateway_dev.cos_emulator.refusals import Refusal

ETAG = '"abc"'
MODIFIED = 1_600_000_000.7
SAME = "Sun, 13 Sep 2020 12:26:40 GMT"
EARLIER = "Sun, 13 Sep 2020 12:26:39 GMT"
LATER = "Sun, 13 Sep 2020 12:26:41 GMT"


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, Outcome.PROCEED),
        ({"If-Match": '"abc"'}, Outcome.PROCEED),
        ({"If-Match": '"x", "abc"'}, Outcome.PROCEED),
        ({"If-Match": "abc"}, Outcome.PROCEED),
        ({"If-Match": "*"}, Outcome.PROCEED),
        ({"If-Match": '"x"'}, Outcome.FAILED),
        ({"If-Unmodified-Since": SAME}, Outcome.PROCEED),
        ({"If-Unmodified-Since": EARLIER}, Outcome.FAILED),
        ({"If-Match": '"abc"', "If-Unmodified-Since": EARLIER}, Outcome.PROCEED),
        ({"If-None-Match": '"abc"'}, Outcome.NOT_MODIFIED),
        ({"If-None-Match": 'W/"abc"'}, Outcome.NOT_MODIFIED),
        ({"If-None-Match": '"x"'}, Outcome.PROCEED),
        ({"If-Modified-Since": SAME}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": LATER}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": EARLIER}, Outcome.PROCEED),
        ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, Outcome.PROCEED),
        ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": "yesterday", "If-Unmodified-Since": "tomorrow"}, Outcome.PROCEED),
        ({"If-Range": '"x"'}, Outcome.PROCEED),
    ],
)
def test_preconditions_follow_rfc_9110(headers: dict[str, str], outcome: Outcome) -> None:
    assert evaluate(CIMultiDict(headers), ETAG, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"If-Match": '"abc"'}, Outcome.FAILED),
        ({"If-Match": "*"}, Outcome.PROCEED),
        ({"If-None-Match": '"abc"'}, Outcome.PROCEED),
        ({"If-None-Match": "*"}, Outcome.NOT_MODIFIED),
        ({"If-Modified-Since": SAME}, Outcome.NOT_MODIFIED),
    ],
)
def test_an_object_without_etag_only_matches_an_asterisk(headers: dict[str, str], outcome: Outcome) -> None:
    assert evaluate(CIMultiDict(headers), None, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
    ],
)
def test_ranges_are_parsed_against_the_size(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 10) == (None if expected is None else ByteRange(*expected, 10))


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_ranges_without_a_byte_are_refused(header: str, size: int) -> None:
    with pytest.raises(Refusal, match="416 InvalidRange"):
        parse_range(header, size)
