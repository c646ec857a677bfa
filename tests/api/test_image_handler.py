"""An image streamed through the gateway: the response to each kind of request."""

import aiohttp
import pytest

from gateway.delivery.relay import SMALL_BODY
from gateway.errors import OriginThrottled
from gateway_dev.cos_emulator.faults import Action, Cut, Fault, Hang, Headers, Html, Redirect, Refuse
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Answer, Images, RunningGateway, StartGateway
from tests.delivery.test_redirect import AWKWARD_KEYS

DATA = bytes(range(256)) * 600
KEY = "cat.png"
ETAG = '"version-1"'
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"

# All that may leave with an image; Date and Connection are the server's own.
HEADERS = {
    "Accept-Ranges",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Cache-Control",
    "Cache-Status",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "Cross-Origin-Resource-Policy",
    "Date",
    "ETag",
    "Last-Modified",
    "Server",
    "Server-Timing",
    "Timing-Allow-Origin",
    "X-Content-Type-Options",
    "X-Request-Id",
}


@pytest.fixture
async def cat(images: Images) -> None:
    """The image that the tests ask for."""
    await images.add("cat", key=KEY)
    images.cos.store.put(BUCKET, KEY, DATA, etag="version-1", last_modified=1_700_000_000)


def names(answer: Answer) -> set[str]:
    """Its headers, in lower case."""
    return {name.lower() for name in answer.headers}


def is_ours(answer: Answer, status: int, code: str) -> None:
    """Assert that it is an error in our own words, with nothing of COS's."""
    assert answer.status == status
    assert answer.json()["code"] == code
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    for foreign in (b"<?xml", b"<Error>", KEY.encode(), BUCKET.encode(), b"q-signature", b"html"):
        assert foreign not in answer.body


@pytest.mark.parametrize("path", ["/api/v1/images/cat/proxy", "/i/cat"])
async def test_an_image_arrives_whole_with_the_header_fields_of_the_contract(
    gateway: RunningGateway, cat: None, path: str
) -> None:
    answer = await gateway.get(path)
    assert (answer.status, answer.body) == (200, DATA)
    assert names(answer) == {name.lower() for name in HEADERS}
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["ETag"] == ETAG
    assert answer.headers["Last-Modified"] == MODIFIED
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Cache-Status"].startswith("image-gateway; fwd=")
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert gateway.sample("response_bytes_total") == gateway.sample("sent_bytes_total", source="cos") == len(DATA)


async def test_bytes_are_counted_by_where_they_were(gateway: RunningGateway, images: Images, cat: None) -> None:
    large = b"x" * 3_000_000  # more than memory keeps
    await images.add("large", large)
    for path in ("/i/cat", "/i/cat", "/i/large", "/i/large"):
        assert (await gateway.get(path)).status == 200
    assert (await gateway.get("/i/cat", headers={"Range": "bytes=0-9"})).status == 206
    assert gateway.sample("sent_bytes_total", source="memory") == len(DATA) + 10
    assert gateway.sample("sent_bytes_total", source="cos") == len(DATA) + 2 * len(large)


async def test_an_image_of_any_size_arrives_byte_for_byte(gateway: RunningGateway, images: Images) -> None:
    for size in (0, 1, 65535, 65536, 65537, 131072, 131073, 3_000_000):
        data = (DATA * (size // len(DATA) + 1))[:size]
        await images.add(f"of-{size}", data)
        answer = await gateway.get(f"/i/of-{size}")
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(size))
        assert answer.body == data, size


async def test_an_object_of_any_name_is_served(gateway: RunningGateway, images: Images) -> None:
    for number, key in enumerate(AWKWARD_KEYS):
        await images.add(f"cat-{number}", key.encode(), key=key)
        assert (await gateway.get(f"/i/cat-{number}")).body == key.encode()
        assert (await gateway.request("HEAD", f"/i/cat-{number}")).status == 200
    # As in the SDK: applications store keys with and without a slash before them.
    await images.add("cat", b"body", key="folder/cat.png")
    await images.add_row(ImageRow("slashed", None, "/folder/cat.png", public=True))
    assert (await gateway.get("/i/slashed")).body == b"body"


async def test_other_headers_of_cos_are_not_forwarded(gateway: RunningGateway, images: Images, cat: None) -> None:
    foreign = [
        ("Set-Cookie", "a=b"),
        ("X-Accel-Redirect", "/_cos/secret"),
        ("Refresh", "0"),
        ("x-cos-meta-owner", "alice"),
        ("x-cos-force-download", "true"),
        ("Content-Disposition", "attachment"),
        ("Cache-Control", "max-age=31536000"),
        ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("Location", "http://elsewhere"),
        ("Content-Language", "zh"),
        ("Alt-Svc", "h3"),
    ]
    images.cos.faults.add(Fault(key=KEY, action=Headers(remove=["Server"], add=[*foreign, ("Server", "tencent-cos")])))
    answer = await gateway.get("/i/cat")
    assert names(answer) == {name.lower() for name in HEADERS}
    assert answer.headers["Server"] == "image-gateway"
    assert answer.headers["Cache-Control"].startswith("public, max-age=3600,")


async def test_a_condition_is_forwarded_so_that_cos_sends_no_body(
    gateway: RunningGateway, images: Images, cat: None
) -> None:
    answer = await gateway.get("/i/cat", headers={"If-None-Match": ETAG})
    assert answer.headers["ETag"] == ETAG
    (seen,) = images.cos.request_log.of(KEY)
    assert (seen.status, seen.bytes_sent) == (304, 0)
    assert gateway.sample("response_bytes_total") == 0


async def test_only_images_leave_by_the_type_of_cos_or_else_of_the_catalog(
    gateway: RunningGateway, images: Images, cat: None
) -> None:
    await images.add("page", b"<script>alert(1)</script>", content_type="text/html")
    is_ours(await gateway.get("/i/page"), 502, "not_an_image")
    images.cos.faults.add(Fault(key=KEY, action=Html()))
    is_ours(await gateway.get("/i/cat"), 502, "not_an_image")
    images.cos.store.put(BUCKET, "unknown", DATA, content_type="application/octet-stream")
    await images.add_row(ImageRow("known", None, "unknown", content_type="image/webp", public=True))
    assert (await gateway.get("/i/known")).headers["Content-Type"] == "image/webp"
    breaks_headers = "image/png\r\nSet-Cookie: a=b"
    await images.add_row(ImageRow("broken", None, "unknown", content_type=breaks_headers, public=True))
    is_ours(await gateway.get("/i/broken"), 502, "not_an_image")


@pytest.mark.parametrize(
    ("action", "status", "code"),
    [
        (Refuse(status=404, code="NoSuchKey"), 404, "image_not_found"),
        (Refuse(status=403, code="AccessDenied"), 502, "origin_refused"),
        (Refuse(status=451, code="UnavailableForLegalReasons"), 451, "image_blocked"),
        (Refuse(status=500, code="InternalError"), 502, "origin_unavailable"),
        (Refuse(status=503, code="SlowDown"), 503, "origin_throttled"),
        (Redirect(location="http://elsewhere/cat.png"), 502, "origin_unavailable"),
        (Hang(), 504, "origin_timeout"),
    ],
)
async def test_a_refusal_of_cos_is_answered_with_the_gateway_s_own_error(
    start_gateway: StartGateway, images: Images, cat: None, action: Action, status: int, code: str
) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 0.4 if action == Hang() else 10, "retry_count": 1})
    images.cos.faults.add(Fault(key=KEY, action=action, times=None))
    answer = await gateway.get("/i/cat")
    is_ours(answer, status, code)
    if status == 503:
        assert answer.headers["Retry-After"] == str(OriginThrottled.retry_after)
    head = await gateway.request("HEAD", "/i/cat")
    assert (head.status, head.body) == (status, b"")


async def test_a_url_that_cos_refuses_is_renewed_once_before_the_client_sees_anything(
    gateway: RunningGateway, images: Images, cat: None
) -> None:
    images.cos.faults.add(Fault(key=KEY, action=Refuse(status=403, code="AccessDenied", message="Request has expired")))
    answer = await gateway.get("/i/cat")
    assert (answer.status, answer.body) == (200, DATA)
    assert len(images.cos.request_log.of(KEY)) == 2
    await gateway.forget_everywhere("cat")
    images.cos.faults.add(Fault(key=KEY, action=Refuse(status=403, code="AccessDenied"), times=None))
    assert (await gateway.get("/i/cat")).status == 502
    assert len(images.cos.request_log.of(KEY)) == 4


async def test_images_can_be_turned_off(start_gateway: StartGateway, images: Images, cat: None) -> None:
    gateway = await start_gateway(image_proxy={"enabled": False})
    is_ours(await gateway.get("/i/cat"), 404, "not_found")
    assert (await gateway.get("/api/v1/images/cat/url")).status == 200


@pytest.mark.parametrize("byte_range", [None, "bytes=0-{last}"])
async def test_an_error_instead_of_a_lost_body_is_sent_up_to_128_kib(
    start_gateway: StartGateway, images: Images, byte_range: str | None
) -> None:
    """A larger body has begun when it is lost: the connection is reset."""
    assert SMALL_BODY == 128 * 1024
    gateway = await start_gateway(image_proxy={"retry_count": 0, "memory_cache": {"max_bytes": 0}})
    for image_id, size in (("small", SMALL_BODY), ("large", SMALL_BODY + 1)):
        # A part is of an object that is larger than the part.
        await images.add(image_id, bytes(size if byte_range is None else 2 * size), key=image_id)
    images.cos.faults.add(Fault(action=Cut(at=64 * 1024), times=None))

    async def get(image_id: str, size: int) -> Answer:
        return await gateway.get(
            f"/i/{image_id}", headers={} if byte_range is None else {"Range": byte_range.format(last=size - 1)}
        )

    is_ours(await get("small", SMALL_BODY), 502, "origin_unavailable")
    with pytest.raises(aiohttp.ClientError):
        await get("large", SMALL_BODY + 1)
