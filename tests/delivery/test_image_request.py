"""Parsing of image requests."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from gateway.access.request_head import RequestHead
from gateway.delivery.decision import ImageRequest
from gateway.delivery.parameters import Parameters, VariantRequests
from gateway.errors import InvalidRequest
from gateway.net.http_fields import content_disposition
from gateway.presign.style_variants import Renditions
from gateway.settings import Live

VARIANTS = VariantRequests(Live(Renditions({})))


def asked(headers: dict[str, str], method: str = "GET") -> ImageRequest:
    """A request with these header fields for the image called cat."""
    return ImageRequest(RequestHead(method, "/i/cat", "", CIMultiDict(headers), None), "cat")


def parsed(byte_range: str | None) -> ImageRequest:
    """A request for a range of the image."""
    return asked({} if byte_range is None else {"Range": byte_range})


def parameters(query: dict[str, str]) -> Parameters:
    """The parameters of a query. Raises their error."""
    found = VARIANTS.parameters_of(MultiDict(query), CIMultiDict())
    if found.error is not None:
        raise found.error
    return found


def _field(request: ImageRequest) -> str | None:
    """Return the Range field for COS; None for the whole image."""
    return str(request.byte_range) if request.byte_range is not None else None


def test_a_plain_request_is_for_the_whole_image_inline() -> None:
    request = asked({})
    assert (request.image_id, request.parameters) == ("cat", parameters({}))
    assert request.byte_range is None
    assert request.is_plain


@pytest.mark.parametrize(
    ("header", "byte_range"),
    [
        (None, None),
        ("bytes=0-0", "bytes=0-0"),
        ("bytes=10-19", "bytes=10-19"),
        ("bytes=10-", "bytes=10-"),
        ("bytes=-5", "bytes=-5"),
        ("Bytes=10-19", "bytes=10-19"),
        ("bytes= 10-19", None),
        ("bytes=10 -19", None),
        ("bytes=1 0-1 9", None),
        ("b y t e s=0-5", None),
        ("bytes=- 5", None),
        ("- 5", None),
        ("bytes =0-5", None),
        ("bytes=19-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("", None),
        ("items=0-5", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=1.5-2", None),
        ("bytes=١-٢", None),
        ("bytes=0-5\r\nX: y", None),
        ("bytes=" + "9" * 19 + "-", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_one_range_is_forwarded_and_anything_else_is_ignored(header: str | None, byte_range: str | None) -> None:
    assert _field(parsed(header)) == byte_range


@given(st.integers(0, 10**18 - 1), st.none() | st.integers(0, 10**18 - 1))
def test_every_valid_range_is_forwarded_unchanged(first: int, last: int | None) -> None:
    header = f"bytes={first}-{'' if last is None else last}"
    expected = header if last is None or first <= last else None
    assert _field(parsed(header)) == expected


def test_a_condition_makes_a_request_other_than_plain_and_head_has_no_range() -> None:
    for name in ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"):
        request = asked({name: "x"})
        assert (request.is_conditional, request.is_plain) == (True, False)
    request = asked({"Range": "bytes=0-5"}, "HEAD")
    assert (request.is_head, request.byte_range, request.is_plain) == (True, None, False)


def test_a_redirect_is_a_flag() -> None:
    for text, redirect in (("true", True), ("1", True), ("false", False), ("0", False)):
        assert parameters({"redirect": text}).redirect is redirect
    for text in ("", "yes", "True", "2", " true"):
        with pytest.raises(InvalidRequest, match="redirect must be true or false"):
            parameters({"redirect": text})


def test_a_download_has_the_name_of_a_file() -> None:
    for name in ("cat.png", "日落 (1).png", 'a"b.png', "a;b=c.png", "x" * 255, "😀", ".", "%2F"):
        assert parameters({"download": name}).download == name
    for name in ("", "x" * 256, "a/b", "a\\b", "a\r\nX: y", "a\x00b", "a\x7f", "a\tb", "\udcff"):
        with pytest.raises(InvalidRequest, match="download"):
            parameters({"download": name})


@given(st.text(min_size=1, max_size=255))
def test_any_accepted_download_name_survives_encoding_and_breaks_no_header(name: str) -> None:
    try:
        accepted = parameters({"download": name}).download
    except InvalidRequest:
        return
    assert accepted is not None
    value = content_disposition(accepted)
    assert re.fullmatch(r"[ -~]+", value)
    extended = re.search(r"filename\*=UTF-8''(.*)$", value)
    plain = re.search(r'filename="([^"]*)"', value)
    assert plain is not None
    decoded = unquote(extended[1]) if extended is not None else plain[1]
    assert decoded == name
