"""The plan for a request, from its header fields and the object's metadata."""

from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.delivery.conditions_and_ranges import (
    NOT_MODIFIED,
    WHOLE,
    ByteRange,
    Plan,
    forwardable_conditions,
    plan_for,
)
from gateway.errors import PreconditionFailed, RangeNotSatisfiable
from gateway.origin.origin_response import ObjectMetadata

METADATA = ObjectMetadata(1000, '"v1"', "Thu, 01 Jan 2026 00:00:00 GMT", "image/png", None)
ETAG = '"abc"'
MODIFIED = "Fri, 10 Apr 2020 09:35:05 GMT"
EARLIER = "Fri, 10 Apr 2020 09:35:04 GMT"
LATER = "Fri, 10 Apr 2020 09:35:06 GMT"
OBJECT = METADATA._replace(etag=ETAG, last_modified=MODIFIED)
SEND, FAILED = WHOLE, None


def of(etag: str | None, last_modified: str | None) -> ObjectMetadata:
    """An object with these validators."""
    return METADATA._replace(etag=etag, last_modified=last_modified)


def verdict_on(headers: CIMultiDict[str], metadata: ObjectMetadata) -> Plan | None:
    """The plan for the whole image; None if a precondition fails."""
    try:
        return plan_for(headers, None, metadata)
    except PreconditionFailed:
        return None


def applies_to(metadata: ObjectMetadata, if_range: str | None) -> bool:
    """Whether a range applies with this If-Range."""
    headers = CIMultiDict({} if if_range is None else {"If-Range": if_range})
    return plan_for(headers, ByteRange(0, 9), metadata).status == 206


@pytest.mark.parametrize(
    ("headers", "byte_range", "plan"),
    [
        ({}, None, WHOLE),
        ({}, ByteRange.parse("bytes=0-"), Plan(206, 0, 999)),
        ({}, ByteRange.parse("bytes=0-0"), Plan(206, 0, 0)),
        ({}, ByteRange.parse("bytes=990-5000"), Plan(206, 990, 999)),
        ({}, ByteRange.parse("bytes=-1"), Plan(206, 999, 999)),
        ({}, ByteRange.parse("bytes=-5000"), Plan(206, 0, 999)),
        ({"If-Range": '"v1"'}, ByteRange.parse("bytes=0-0"), Plan(206, 0, 0)),
        ({"If-Range": '"v0"'}, ByteRange.parse("bytes=0-0"), WHOLE),
        ({"If-None-Match": '"v1"'}, ByteRange.parse("bytes=0-0"), NOT_MODIFIED),
        ({"If-None-Match": '"v1"'}, ByteRange.parse("bytes=5000-"), NOT_MODIFIED),
        ({"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, None, NOT_MODIFIED),
        ({"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, None, WHOLE),
    ],
)
def test_each_request_has_one_plan(headers: Mapping[str, str], byte_range: ByteRange | None, plan: Plan) -> None:
    assert plan_for(CIMultiDict(headers), byte_range, METADATA) == plan


def test_a_range_without_a_byte_cannot_be_satisfied_and_an_unknown_size_ignores_ranges() -> None:
    for byte_range, size in (("bytes=1000-", 1000), ("bytes=5000-6000", 1000), ("bytes=-0", 1000), ("bytes=-5", 0)):
        with pytest.raises(RangeNotSatisfiable) as caught:
            plan_for(CIMultiDict({}), ByteRange.parse(byte_range), METADATA._replace(size=size))
        assert caught.value.headers == {"Content-Range": f"bytes */{size}"}
    assert plan_for(CIMultiDict({}), ByteRange.parse("bytes=0-5"), METADATA._replace(size=None)) is WHOLE
    with pytest.raises(PreconditionFailed):  # it comes first
        plan_for(CIMultiDict({"If-Match": '"v0"', "If-None-Match": '"v1"'}), ByteRange.parse("bytes=5000-"), METADATA)


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
        ({"If-None-Match": '"",' * 2700 + '"abc"'}, NOT_MODIFIED),
        ({"If-None-Match": '"",' * 2800 + '"abc"'}, SEND),  # more than 8 KiB take too long
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
        ({"If-Match": '"",' * 2800 + '"abc"'}, FAILED),
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
def test_conditions_are_applied_in_the_order_of_the_rfc(headers: dict[str, str], verdict: Plan | None) -> None:
    assert verdict_on(CIMultiDict(headers), OBJECT) is verdict


@pytest.mark.parametrize(
    ("headers", "metadata", "verdict"),
    [
        ({"If-None-Match": '"abc"'}, of('W/"abc"', None), NOT_MODIFIED),
        ({"If-Match": '"abc"'}, of('W/"abc"', None), FAILED),
        ({"If-Match": '"abc"'}, of(None, MODIFIED), FAILED),
        ({"If-Match": "*"}, of(None, None), SEND),
        ({"If-None-Match": '"abc"'}, of(None, MODIFIED), SEND),
        ({"If-Modified-Since": LATER}, of(ETAG, None), SEND),
        ({"If-Unmodified-Since": EARLIER}, of(ETAG, None), SEND),
        ({"If-Unmodified-Since": EARLIER}, of(ETAG, "whenever"), SEND),
    ],
)
def test_an_object_may_lack_validators(headers: dict[str, str], metadata: ObjectMetadata, verdict: Plan | None) -> None:
    assert verdict_on(CIMultiDict(headers), metadata) is verdict


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
        assert verdict_on(CIMultiDict([(name, '"x"'), (name, ETAG)]), OBJECT) is verdict
    assert forwardable_conditions(CIMultiDict([("If-None-Match", '"x"'), ("If-None-Match", ETAG)])) == {}


def test_a_range_applies_to_the_very_same_version_only() -> None:
    for if_range in (None, ETAG, MODIFIED):
        assert applies_to(OBJECT, if_range), if_range
    for if_range in ('"x"', 'W/"abc"', EARLIER, LATER, "", "abc"):
        assert not applies_to(OBJECT, if_range), if_range
    for if_range in (ETAG, MODIFIED):
        assert not applies_to(of(None, None), if_range), "an object without validators"


def test_a_date_does_not_depend_on_the_local_time_zone(far_from_greenwich: None) -> None:
    for zone in ("GMT", "-0000", "+0000", ""):
        headers = {"If-Modified-Since": f"Fri, 10 Apr 2020 09:35:05 {zone}".strip()}
        assert verdict_on(CIMultiDict(headers), OBJECT) is NOT_MODIFIED
        headers = {"If-Modified-Since": f"Fri, 10 Apr 2020 09:35:04 {zone}".strip()}
        assert verdict_on(CIMultiDict(headers), OBJECT) is SEND


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_dates_are_compared_as_times(since: int, modified: int) -> None:
    headers = {"If-Modified-Since": formatdate(since, usegmt=True)}
    verdict = verdict_on(CIMultiDict(headers), of(None, formatdate(modified, usegmt=True)))
    assert verdict is (NOT_MODIFIED if modified <= since else SEND)


opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8)


@given(
    tags=st.lists(st.tuples(st.booleans(), opaque), min_size=1, max_size=5),
    etag=opaque,
    gap=st.sampled_from([",", " , "]),
)
def test_any_list_of_tags_is_read(tags: list[tuple[bool, str]], etag: str, gap: str) -> None:
    field = gap.join(f'{"W/" if weak else ""}"{tag}"' for weak, tag in tags)
    validators = of(f'"{etag}"', None)
    listed = etag in {tag for _, tag in tags}
    strongly = (False, etag) in tags
    assert verdict_on(CIMultiDict({"If-None-Match": field}), validators) is (NOT_MODIFIED if listed else SEND)
    assert verdict_on(CIMultiDict({"If-Match": field}), validators) is (SEND if strongly else FAILED)
