"""The plan for a request, from its header fields and the object's metadata."""

from collections.abc import Mapping

import pytest
from multidict import CIMultiDict

from gateway.delivery.byte_range import ByteRange
from gateway.delivery.headers import cache_status_of_fetch, cache_status_of_hit, cache_status_of_revalidation
from gateway.delivery.plan import NOT_MODIFIED, WHOLE, Plan, plan_for
from gateway.errors import PreconditionFailed, RangeNotSatisfiable
from gateway.origin.origin_response import ObjectMetadata

METADATA = ObjectMetadata(1000, '"v1"', "Thu, 01 Jan 2026 00:00:00 GMT", "image/png", None)


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


@pytest.mark.parametrize("byte_range", ["bytes=1000-", "bytes=5000-6000", "bytes=-0"])
def test_no_byte_in_the_range(byte_range: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        plan_for(CIMultiDict({}), ByteRange.parse(byte_range), METADATA)
    assert caught.value.headers == {"Content-Range": "bytes */1000"}


def test_an_empty_image_satisfies_no_range_and_an_unknown_size_ignores_ranges() -> None:
    with pytest.raises(RangeNotSatisfiable):
        plan_for(CIMultiDict({}), ByteRange.parse("bytes=-5"), METADATA._replace(size=0))
    assert plan_for(CIMultiDict({}), ByteRange.parse("bytes=0-5"), METADATA._replace(size=None)) is WHOLE


def test_a_precondition_comes_first() -> None:
    with pytest.raises(PreconditionFailed):
        plan_for(CIMultiDict({"If-Match": '"v0"', "If-None-Match": '"v1"'}), ByteRange.parse("bytes=5000-"), METADATA)


def test_cache_status_is_that_of_rfc_9211() -> None:
    assert cache_status_of_hit(12.9) == "image-gateway; hit; ttl=12"
    assert cache_status_of_hit(-3.2) == "image-gateway; hit; ttl=-3"
    assert cache_status_of_fetch(206) == "image-gateway; fwd=miss; fwd-status=206"
    assert cache_status_of_fetch(200, stored=True, collapsed=True) == (
        "image-gateway; fwd=miss; fwd-status=200; stored; collapsed"
    )
    assert cache_status_of_revalidation(304) == "image-gateway; fwd=stale; fwd-status=304"
    assert cache_status_of_revalidation(None) == "image-gateway; fwd=stale; detail=stale-if-error"
