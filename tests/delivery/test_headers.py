"""The headers that leave with an image, and responses that are serialized once: as aiohttp would send them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.record import ImageRecord
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.headers import Prepared, cache_status_of, content_type_of, fields, image_fields
from gateway.errors import NotAnImage
from gateway.net.http_fields import content_disposition
from gateway.objects.content import Content
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import PresignedUrl
from gateway_dev.cos_emulator.faults import Fault, Headers
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.raw_client import connect
from tests.signed_images import signed_image
from tests.waiting import until

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


SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 2000
# A redirect has a URL for each method.
OF_ONE_ANSWER = {"date", "server-timing", "x-request-id", "cache-status", "age", "location"}


def names(answer: Answer) -> set[str]:
    """Its fields, in lower case."""
    return {name.lower() for name in answer.headers}


def lasting(answer: Answer) -> dict[str, str]:
    """The fields that are the same in every answer to the same request, for a GET and for a HEAD."""
    sent_fields = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in sent_fields.items() if name not in OF_ONE_ANSWER}


async def test_a_prepared_response_has_the_fields_of_every_other_response(
    gateway: RunningGateway, images: Images
) -> None:
    for image_id, data in {"small": SMALL, "large": LARGE}.items():
        await images.add(image_id, data)
        for query in ("", "?download=a.png", "?redirect=true"):
            path = f"/i/{image_id}{query}"
            gateway.forget(image_id)
            head = await gateway.request("HEAD", path)  # by aiohttp's own hand
            from_cos, from_memory = await gateway.get(path), await gateway.get(path)
            for answer in (from_cos, from_memory):
                assert answer.status == head.status
                assert lasting(answer) == lasting(head)
                assert names(answer) - {"age"} >= names(head) - {"age"}
                assert answer.body == (b"" if answer.status == 302 else data)


async def test_a_connection_is_kept_or_closed_as_the_client_of_each_version_wants(
    gateway: RunningGateway, images: Images
) -> None:
    for image_id, data in {"small": SMALL, "large": LARGE}.items():
        await images.add(image_id, data)
        await gateway.get(f"/i/{image_id}")
        async with connect(gateway.ports.public) as connection:
            await connection.send(f"GET /i/{image_id} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n".encode())
            head = await connection.read_head()
            assert head.headers["connection"] == "close"
            assert await connection.read_rest() == data
    for query in ("", "?redirect=true"):
        async with connect(gateway.ports.public) as connection:
            await connection.send(f"GET /i/small{query} HTTP/1.0\r\nHost: g\r\n\r\n".encode())
            answer = await connection.read_rest()
        assert answer.startswith(b"HTTP/1.0 ")
        assert b"\r\nConnection:" not in answer
    async with connect(gateway.ports.public) as connection:
        for _ in range(2):
            await connection.send(b"GET /i/small HTTP/1.0\r\nHost: g\r\nConnection: keep-alive\r\n\r\n")
            head = await connection.read_head()
            assert head.headers["connection"] == "keep-alive"
            assert await connection.read_body(head) == SMALL


async def test_many_answers_follow_one_another_on_one_connection(gateway: RunningGateway, images: Images) -> None:
    for image_id, data in {"a": SMALL, "b": LARGE, "c": b""}.items():
        await images.add(image_id, data)
        await gateway.get(f"/i/{image_id}")
    async with connect(gateway.ports.public) as connection:
        for image_id in "abca":
            await connection.get(f"/i/{image_id}")
        for data in (SMALL, LARGE, b"", SMALL):
            head = await connection.read_head()
            assert "connection" not in head.headers
            assert await connection.read_body(head) == data


async def test_a_client_that_disconnects_from_a_prepared_response_is_not_a_failure(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway()
    await images.add("cat", b"x" * 1_900_000)
    await gateway.get("/i/cat")
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        await connection.get("/i/cat")
        await connection.read_head()
    await until(lambda: gateway.sample("inflight_requests") == 0)
    assert gateway.sample("requests_total", route="short", delivery="stream", status="500") == 0


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
def test_a_field_that_would_end_its_line_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        fields({"X": "fine", "ETag": value})


async def test_an_etag_of_non_ascii_bytes_reaches_the_client(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", SMALL, key="cat.png")
    odd = Headers(remove=["ETag"], add=[("ETag", '"\u00e9"')])
    images.cos.faults.add(Fault(key="cat.png", action=odd))
    assert (await gateway.get("/i/cat")).headers["ETag"] == '"\u00e9"'
