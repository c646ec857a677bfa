"""The headers that leave with an image."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord
from gateway.delivery.headers import cache_control, content_type_of, image_headers
from gateway.errors import NotAnImage
from gateway.origin.response import ContentRange, ObjectHeaders


def record(*, public: bool = True, content_type: str | None = None) -> ImageRecord:
    """A row."""
    return ImageRecord("cat", "alice", public, "photos-1250000000", "ap-guangzhou", "cat.png", content_type)


def told(content_type: str | None = "image/png", content_range: ContentRange | None = None) -> ObjectHeaders:
    """What COS says of the object."""
    return ObjectHeaders(content_type, None, 1000, '"abc"', "Fri, 10 Apr 2020 09:35:05 GMT", content_range, 42)


@pytest.mark.parametrize(
    ("cos", "row", "sent"),
    [
        ("image/png", None, "image/png"),
        ("image/png", "image/jpeg", "image/png"),
        ("IMAGE/PNG", None, "image/png"),
        ("image/png; charset=binary", None, "image/png"),
        ("image/svg+xml", None, "image/svg+xml"),
        ("image/vnd.microsoft.icon", None, "image/vnd.microsoft.icon"),
        ("application/octet-stream", "image/jpeg", "image/jpeg"),
        ("binary/octet-stream", " Image/JPEG ", "image/jpeg"),
        ("application/octet-stream", "image/jpeg; q=1", "image/jpeg"),
        (None, "image/jpeg", "image/jpeg"),
        ("", "image/jpeg", "image/jpeg"),
    ],
)
def test_the_type_is_what_cos_says_or_else_the_catalog(cos: str | None, row: str | None, sent: str) -> None:
    assert content_type_of(record(content_type=row), told(cos)) == sent


@pytest.mark.parametrize(
    ("cos", "row"),
    [
        ("text/html", None),
        ("text/html", "image/png"),
        ("application/pdf", "image/png"),
        ("application/octet-stream", None),
        ("application/octet-stream", "text/html"),
        ("application/octet-stream", ""),
        (None, None),
        ("image", None),
        ("image/", None),
        ("images/png", None),
        ("text/html,image/png", None),
        ("image/png,text/html", None),
        ("application/octet-stream", "image/png\r\nSet-Cookie: a=b"),
        ("application/octet-stream", "image/\x00"),
        ("application/octet-stream", "image/图"),
        ("application/octet-stream", "image/png text/html"),
    ],
)
def test_only_images_leave(cos: str | None, row: str | None) -> None:
    with pytest.raises(NotAnImage):
        content_type_of(record(content_type=row), told(cos))


@given(st.text(max_size=30) | st.text(max_size=10).map("image/{}".format))
def test_no_type_of_the_catalog_breaks_a_header(content_type: str) -> None:
    try:
        sent = content_type_of(record(content_type=content_type), told(None))
    except NotAnImage:
        return
    assert re.fullmatch(r"image/[!-~]+", sent)


def test_lesson_10_a_shared_cache_may_keep_what_everybody_may_see_and_nothing_else() -> None:
    assert cache_control(record(), 600) == "public, max-age=600, stale-while-revalidate=300, stale-if-error=86400"
    assert cache_control(record(public=False), 600) == "private, max-age=600"


def sent(row: ImageRecord, origin: ObjectHeaders, **changes: object) -> dict[str, str]:
    """The headers of an answer."""
    asked = {"max_age": 600, "download": None, "partial": False, "with_body": True, **changes}
    return dict(image_headers(row, origin, **asked))  # type: ignore[arg-type]


def test_an_image_carries_what_the_contract_says() -> None:
    headers = sent(record(), told())
    assert headers["ETag"] == '"abc"'
    assert headers["Last-Modified"] == "Fri, 10 Apr 2020 09:35:05 GMT"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Length"] == "1000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in headers
    assert "Content-Disposition" not in headers


def test_a_private_image_varies_by_who_asks() -> None:
    assert sent(record(public=False), told())["Vary"] == "Authorization"


def test_what_cos_does_not_say_is_not_said() -> None:
    headers = sent(record(), ObjectHeaders("image/png", None, None, None, None, None, None))
    assert not {"ETag", "Last-Modified", "Content-Length", "Content-Encoding", "Content-Range"} & headers.keys()


def test_a_part_says_which_part() -> None:
    headers = sent(record(), told(content_range=ContentRange(0, 999, 5000)), partial=True)
    assert headers["Content-Range"] == "bytes 0-999/5000"


def test_an_answer_without_a_body_says_nothing_of_one() -> None:
    headers = sent(record(), told(None), with_body=False)
    assert headers["ETag"] == '"abc"'
    assert not any(name.startswith("Content-") and name != "Content-Security-Policy" for name in headers)


def test_a_download_has_a_name() -> None:
    assert sent(record(), told(), download="cat.png")["Content-Disposition"] == 'attachment; filename="cat.png"'
