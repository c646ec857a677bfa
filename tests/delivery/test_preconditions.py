"""Conditional requests, as RFC 9110 section 13 has them."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.delivery.preconditions import Validators, Verdict, evaluate, forwardable_conditions, range_applies

ETAG = '"abc"'
MODIFIED = "Fri, 10 Apr 2020 09:35:05 GMT"
EARLIER = "Fri, 10 Apr 2020 09:35:04 GMT"
LATER = "Fri, 10 Apr 2020 09:35:06 GMT"
OBJECT = Validators(ETAG, MODIFIED)

SEND, NOT_MODIFIED, FAILED = Verdict.SEND, Verdict.NOT_MODIFIED, Verdict.PRECONDITION_FAILED


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, SEND),
        # If-None-Match, section 13.1.2: weak comparison
        ({"If-None-Match": '"abc"'}, NOT_MODIFIED),
        ({"If-None-Match": 'W/"abc"'}, NOT_MODIFIED),
        ({"If-None-Match": "*"}, NOT_MODIFIED),
        ({"If-None-Match": '"x", W/"abc" , "y"'}, NOT_MODIFIED),
        ({"If-None-Match": '"x,y", "abc"'}, NOT_MODIFIED),
        ({"If-None-Match": ', "abc"'}, NOT_MODIFIED),
        ({"If-None-Match": '"x", , "abc",'}, NOT_MODIFIED),
        ({"If-None-Match": '"x",,"abc"'}, NOT_MODIFIED),
        ({"If-None-Match": '"x" "abc"'}, SEND),
        ({"If-None-Match": ", ,"}, SEND),
        ({"If-None-Match": '"x"'}, SEND),
        ({"If-None-Match": "abc"}, SEND),
        ({"If-None-Match": '"abc'}, SEND),
        ({"If-None-Match": '"x,"abc""'}, SEND),
        ({"If-None-Match": ""}, SEND),
        # If-Modified-Since, section 13.1.3
        ({"If-Modified-Since": MODIFIED}, NOT_MODIFIED),
        ({"If-Modified-Since": LATER}, NOT_MODIFIED),
        ({"If-Modified-Since": EARLIER}, SEND),
        ({"If-Modified-Since": "yesterday"}, SEND),
        ({"If-Modified-Since": "Friday, 10-Apr-20 09:35:05 GMT"}, NOT_MODIFIED),
        # If-None-Match outranks it, section 13.2.2
        ({"If-None-Match": '"x"', "If-Modified-Since": LATER}, SEND),
        ({"If-None-Match": '"abc"', "If-Modified-Since": EARLIER}, NOT_MODIFIED),
        # If-Match, section 13.1.1: strong comparison
        ({"If-Match": '"abc"'}, SEND),
        ({"If-Match": "*"}, SEND),
        ({"If-Match": '"x", "abc"'}, SEND),
        ({"If-Match": 'W/"abc"'}, FAILED),
        ({"If-Match": '"x"'}, FAILED),
        # If-Unmodified-Since, section 13.1.4; If-Match outranks it
        ({"If-Unmodified-Since": MODIFIED}, SEND),
        ({"If-Unmodified-Since": LATER}, SEND),
        ({"If-Unmodified-Since": EARLIER}, FAILED),
        ({"If-Unmodified-Since": "yesterday"}, SEND),
        ({"If-Match": '"abc"', "If-Unmodified-Since": EARLIER}, SEND),
        ({"If-Match": '"x"', "If-Unmodified-Since": LATER}, FAILED),
        # all together: If-Match and If-Unmodified-Since come first
        ({"If-Match": '"x"', "If-None-Match": '"abc"'}, FAILED),
        ({"If-Match": '"abc"', "If-None-Match": '"abc"'}, NOT_MODIFIED),
        ({"If-Unmodified-Since": EARLIER, "If-Modified-Since": LATER}, FAILED),
    ],
)
def test_conditions_are_applied_in_the_order_of_the_rfc(headers: dict[str, str], verdict: Verdict) -> None:
    assert evaluate(CIMultiDict(headers), OBJECT) is verdict


@pytest.mark.parametrize(
    ("headers", "validators", "verdict"),
    [
        ({"If-None-Match": '"abc"'}, Validators('W/"abc"', None), NOT_MODIFIED),
        ({"If-Match": '"abc"'}, Validators('W/"abc"', None), FAILED),
        ({"If-Match": '"abc"'}, Validators(None, MODIFIED), FAILED),
        ({"If-Match": "*"}, Validators(None, None), SEND),
        ({"If-None-Match": '"abc"'}, Validators(None, MODIFIED), SEND),
        ({"If-Modified-Since": LATER}, Validators(ETAG, None), SEND),
        ({"If-Unmodified-Since": EARLIER}, Validators(ETAG, None), SEND),
        ({"If-Unmodified-Since": EARLIER}, Validators(ETAG, "whenever"), SEND),
    ],
)
def test_an_object_may_lack_validators(headers: dict[str, str], validators: Validators, verdict: Verdict) -> None:
    assert evaluate(CIMultiDict(headers), validators) is verdict


@pytest.mark.parametrize(
    ("headers", "forwarded"),
    [
        ({}, {}),
        ({"If-None-Match": '"abc"'}, {"If-None-Match": '"abc"'}),
        ({"If-None-Match": 'W/"abc"'}, {"If-None-Match": '"abc"'}),
        ({"If-None-Match": '"a", "b"'}, {}),
        ({"If-None-Match": "*"}, {}),
        ({"If-None-Match": '"abc"', "If-Modified-Since": MODIFIED}, {"If-None-Match": '"abc"'}),
        ({"If-None-Match": '"a", "b"', "If-Modified-Since": MODIFIED}, {}),
        ({"If-Modified-Since": MODIFIED}, {"If-Modified-Since": MODIFIED}),
        ({"If-Modified-Since": "yesterday"}, {}),
        ({"If-Match": '"abc"', "If-Unmodified-Since": MODIFIED}, {}),
    ],
)
def test_only_unambiguous_conditions_are_forwarded_to_cos(headers: dict[str, str], forwarded: dict[str, str]) -> None:
    assert forwardable_conditions(CIMultiDict(headers)) == forwarded


def test_a_list_may_come_in_several_lines() -> None:
    for name, verdict in (("If-Match", SEND), ("If-None-Match", NOT_MODIFIED)):
        assert evaluate(CIMultiDict([(name, '"x"'), (name, ETAG)]), OBJECT) is verdict
    assert forwardable_conditions(CIMultiDict([("If-None-Match", '"x"'), ("If-None-Match", ETAG)])) == {}


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"abc"', True),
        ('"x"', False),
        ('W/"abc"', False),
        (MODIFIED, True),
        (EARLIER, False),
        (LATER, False),
        ("", False),
        ("abc", False),
    ],
)
def test_a_range_applies_to_the_very_same_version_only(if_range: str | None, applies: bool) -> None:
    assert range_applies(if_range, OBJECT) is applies


def test_a_range_with_a_condition_does_not_apply_to_an_object_without_validators() -> None:
    assert not range_applies('"abc"', Validators(None, None))
    assert not range_applies(MODIFIED, Validators(None, None))


def test_a_date_does_not_depend_on_the_local_time_zone(far_from_greenwich: None) -> None:
    for zone in ("GMT", "-0000", "+0000", ""):
        headers = {"If-Modified-Since": f"Fri, 10 Apr 2020 09:35:05 {zone}".strip()}
        assert evaluate(CIMultiDict(headers), OBJECT) is NOT_MODIFIED
        headers = {"If-Modified-Since": f"Fri, 10 Apr 2020 09:35:04 {zone}".strip()}
        assert evaluate(CIMultiDict(headers), OBJECT) is SEND


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_dates_are_compared_as_times(since: int, modified: int) -> None:
    headers = {"If-Modified-Since": formatdate(since, usegmt=True)}
    verdict = evaluate(CIMultiDict(headers), Validators(None, formatdate(modified, usegmt=True)))
    assert verdict is (NOT_MODIFIED if modified <= since else SEND)


opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8)


@given(
    tags=st.lists(st.tuples(st.booleans(), opaque), min_size=1, max_size=5),
    etag=opaque,
    gap=st.sampled_from([",", " , "]),
)
def test_any_list_of_tags_is_read(tags: list[tuple[bool, str]], etag: str, gap: str) -> None:
    field = gap.join(f'{"W/" if weak else ""}"{tag}"' for weak, tag in tags)
    validators = Validators(f'"{etag}"', None)
    listed = etag in {tag for _, tag in tags}
    strongly = (False, etag) in tags
    assert evaluate(CIMultiDict({"If-None-Match": field}), validators) is (NOT_MODIFIED if listed else SEND)
    assert evaluate(CIMultiDict({"If-Match": field}), validators) is (SEND if strongly else FAILED)


# Values of a header that aiohttp has decoded, and texts that are nearly dates.
anything = st.binary(max_size=60).map(lambda raw: raw.decode(errors="surrogateescape"))
nearly_dates = st.lists(
    st.sampled_from(
        ["Fri,", "10", "Apr", "2020", "09:35:05", "GMT", "99", "-0000", "+9999", "0", "9" * 30, ":", "-", ",", "12.34"]
    ),
    max_size=8,
).map(" ".join)


@given(
    st.dictionaries(
        st.sampled_from(["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"]),
        anything | nearly_dates,
    ),
    anything | nearly_dates,
)
def test_no_condition_makes_it_crash(headers: dict[str, str], last_modified: str) -> None:
    validators = Validators(ETAG, last_modified)
    assert evaluate(CIMultiDict(headers), validators) in Verdict
    assert all(
        value in {'"abc"', *headers.values()} or value.startswith('"')
        for value in forwardable_conditions(CIMultiDict(headers)).values()
    )
    for value in headers.values():
        range_applies(value, validators)
