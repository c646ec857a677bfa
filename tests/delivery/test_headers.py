"""The headers that leave with an image."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import cache_status_of, content_type_of, image_fields
from gateway.delivery.prepared_response import Prepared
from gateway.errors import NotAnImage
from gateway.net.http_fields import content_disposition
from gateway.objects.content import Content
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import PresignedUrl
from gateway_dev.cos_emulator.faults import Fault, Headers
from tests.conftest import Images, RunningGateway
from tests.signed_images import signed_image

IMAGE = signed_image(
    ImageRecord("cat", "alice", True, "photos-1250000000", "ap-guangzhou", "cat.png", None),
    PresignedUrl("https://host/cat.png", 0, 0),
)

POLICY = CachePolicy(max_age=600, private_vary="Authorization, Cookie")
METADATA = ObjectMetadata(1000, '"abc"', "Fri, 10 Apr 2020 09:35:05 GMT", "image/png", None)


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
def test_the_type_is_that_of_cos_or_else_of_the_catalog(cos: str | None, row: str | None, sent: str) -> None:
    assert content_type_of(row, cos) == sent


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
        content_type_of(row, cos)


@given(st.text(max_size=30) | st.text(max_size=10).map("image/{}".format))
def test_no_type_of_the_catalog_breaks_a_header(content_type: str) -> None:
    try:
        sent = content_type_of(content_type, None)
    except NotAnImage:
        return
    assert re.fullmatch(r"image/[!-~]+", sent)


def sent(metadata: ObjectMetadata = METADATA, *, download: str | None = None, with_body: bool = True) -> dict[str, str]:
    """The headers of an answer."""
    lines = image_fields(IMAGE, metadata, POLICY, download, with_body=with_body)
    return dict(Prepared.of(lines, "", b"").headers())


def test_fields_that_cos_did_not_send_are_left_out() -> None:
    headers = sent(ObjectMetadata(None, None, None, "image/png", None))
    assert not {"ETag", "Last-Modified", "Content-Encoding"} & headers.keys()


def test_a_response_without_a_body_has_no_body_headers() -> None:
    headers = sent(METADATA._replace(content_type=None), with_body=False)
    assert headers["ETag"] == '"abc"'
    assert not any(name.startswith("Content-") and name != "Content-Security-Policy" for name in headers)


def test_a_download_has_a_name() -> None:
    assert sent(download="cat.png")["Content-Disposition"] == 'attachment; filename="cat.png"'


def test_public_images_have_a_tag_where_caches_in_front_are_purged() -> None:
    tagged = POLICY._replace(has_tags=True)
    assert "Cache-Tag" not in sent()
    private = signed_image(replace(IMAGE.record, public=False), IMAGE.presigned)
    assert b"Cache-Tag" not in image_fields(private, METADATA, tagged, None)
    assert b"Cache-Tag: image-cat\r\n" in image_fields(IMAGE, METADATA, tagged, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cat.png", 'attachment; filename="cat.png"'),
        ("my cat.png", 'attachment; filename="my cat.png"'),
        ('a"b.png', "attachment; filename=\"a_b.png\"; filename*=UTF-8''a%22b.png"),
        ("日落.png", "attachment; filename=\"__.png\"; filename*=UTF-8''%E6%97%A5%E8%90%BD.png"),
        ("100%.png", "attachment; filename=\"100_.png\"; filename*=UTF-8''100%25.png"),
    ],
)
def test_a_file_name_is_encoded_by_rfc_6266(name: str, value: str) -> None:
    assert content_disposition(name) == value


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (Content(IMAGE, METADATA, fresh_for=12.9, age=1), "hit; ttl=12"),
        (Content(IMAGE, METADATA, fresh_for=-3.2, age=9), "hit; ttl=-3"),
        (Content(IMAGE, METADATA, 206), "fwd=miss; fwd-status=206"),
        (
            Content(IMAGE, METADATA, 200, is_stored=True, is_collapsed=True),
            "fwd=miss; fwd-status=200; stored; collapsed",
        ),
        (Content(IMAGE, METADATA, 304, age=0, had_stale=True), "fwd=stale; fwd-status=304"),
        (Content(IMAGE, METADATA, None, age=9, had_stale=True), "fwd=stale; detail=stale-if-error"),
    ],
)
def test_cache_status_is_that_of_rfc_9211(content: Content, status: str) -> None:
    assert cache_status_of(content) == status


async def test_an_etag_of_non_ascii_bytes_reaches_the_client(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", key="cat.png")
    odd = Headers(remove=["ETag"], add=[("ETag", '"\u00e9"')])
    images.cos.faults.add(Fault(key="cat.png", action=odd))
    assert (await gateway.get("/i/cat")).headers["ETag"] == '"\u00e9"'
