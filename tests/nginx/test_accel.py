"""``delivery: accel`` through a real nginx: the gateway authorizes, nginx fetches the object and caches it."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Change, Cut, Drip, Fault, Refuse
from gateway_dev.cos_emulator.faults import Headers as AddedHeaders
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, token_for
from tests.delivery.test_redirect import AWKWARD_KEYS
from tests.nginx.conftest import Nginx

# Headers that an object's metadata and a custom domain's CDN may add.
HOSTILE = {
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Headers": "*",
    "Age": "7",
    "Alt-Svc": 'h3=":443"',
    "Cache-Status": "theirs; hit",
    "Clear-Site-Data": '"*"',
    "Content-Language": "tlh",
    "Content-Location": "/elsewhere",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Link": "</x>; rel=preload",
    "Location": "/elsewhere",
    "Pragma": "public",
    "Refresh": "0",
    "Server-Timing": "theirs",
    "Set-Cookie": "a=b",
    "Strict-Transport-Security": "max-age=1",
    "Timing-Allow-Origin": "https://theirs.example",
    "Vary": "*",
    "Via": "1.1 theirs",
    "WWW-Authenticate": "Basic",
    "X-Accel-Redirect": "/etc/passwd",
    "X-Cache-Lookup": "Hit From Disktank",
    "X-NWS-LOG-UUID": "1",
    "X-Request-Id": "theirs-0001",
}
LARGE = SyntheticContent(5_000_000)
SMALL = bytes(range(256)) * 40


async def test_keys_that_need_encoding_are_fetched(nginx: Nginx, images: Images) -> None:
    """nginx decodes the URI of X-Accel-Redirect, which would break the signature; so the URL is in another header."""
    for number, key in enumerate(AWKWARD_KEYS):
        await images.add(f"odd{number}", key.encode() * 3, key=key)
        answer = await nginx.get(f"/i/odd{number}")
        assert (answer.status, answer.body) == (200, key.encode() * 3), key


async def test_the_response_has_the_headers_of_a_streamed_one(
    gateway: RunningGateway, nginx: Nginx, images: Images, cos: CosEmulator
) -> None:
    await images.add(
        "a", SMALL, content_type="application/octet-stream", headers={"Cache-Control": "max-age=1", "Expires": "0"}
    )
    cos.faults.add(Fault(action=AddedHeaders(add=[*HOSTILE.items()]), times=None))
    await images.execute("UPDATE images SET mime_type = 'image/png' WHERE id = 'a'")
    streamed = await gateway.get("/i/a", headers={"X-Accel-Failed": "1"})
    answer = await nginx.get("/i/a?download=a.png")
    assert (answer.status, answer.body) == (200, SMALL)
    names = [name.lower() for name, _ in answer.headers.items()]
    assert len(names) == len(set(names))  # no name twice
    missing = {"server-timing", "x-request-id"}
    for name in {name.lower() for name in streamed.headers} - missing - {"date", "server", "cache-status", "age"}:
        assert answer.headers.get(name) == streamed.headers[name], name
    assert missing < set(names)
    assert set(names) - {name.lower() for name in streamed.headers} <= {"connection", "content-disposition"}
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.png"'
    assert not [name for name in names if name.startswith(("x-cos", "x-origin", "x-accel"))]


async def test_nginx_caches_the_object_and_the_gateway_authorizes_each_request(nginx: Nginx, images: Images) -> None:
    await images.add("mine", SMALL, owner="alice", public=False)
    alice, bob = (f"Bearer {token_for(user)}" for user in ("alice", "bob"))
    for number in range(3):
        answer = await nginx.get("/i/mine", Authorization=alice)
        assert (answer.status, answer.body) == (200, SMALL)
        assert answer.headers["Cache-Control"].startswith("private")
        assert answer.headers["Vary"] == "Authorization"
        assert answer.headers["Cache-Status"].endswith("nginx; fwd=uri-miss" if number == 0 else "nginx; hit")
        assert (await nginx.get("/i/mine", Authorization=bob)).status == 404
        assert (await nginx.get("/i/mine")).status == 404
    assert [(seen.method, seen.status) for seen in images.cos.request_log.requests] == [("HEAD", 200), ("GET", 200)]
    sent = images.cos.request_log.requests[1].headers
    assert not {"authorization", "cookie", "x-user-id"} & sent.keys()
    assert sent["if-match"] == answer.headers["ETag"]


@pytest.mark.parametrize("content", [SyntheticContent(20_000), LARGE], ids=["small", "large"])
async def test_ranges_head_and_conditions(nginx: Nginx, images: Images, content: SyntheticContent) -> None:
    images.cos.store.put(BUCKET, "a.png", content)
    await images.add_row(ImageRow("a", None, "a.png", public=True))
    for _ in range(2):
        answer = await nginx.get("/i/a", Range="bytes=1000-1999")
        assert (answer.status, answer.body) == (206, content.read(1000, 2000))
        assert answer.headers["Content-Range"] == f"bytes 1000-1999/{content.size}"
        assert (await nginx.get("/i/a", Range="bytes=-5")).body == content.read(content.size - 5, content.size)
    head = await nginx.request("HEAD", "/i/a")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(content.size), b"")
    etag = head.headers["ETag"]
    assert (await nginx.get("/i/a", If_None_Match=etag)).status == 304
    assert (await nginx.get("/i/a", If_Match='"x"')).status == 412
    beyond = await nginx.get("/i/a", Range="bytes=99999999-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{content.size}")
    other = await nginx.get("/i/a", Range="bytes=0-1", If_Range='"x"')
    assert (other.status, len(other.body)) == (200, content.size)


async def test_the_gateway_streams_the_object_or_reports_an_error_if_cos_refuses(
    nginx: Nginx, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), method="GET"))
    answer = await nginx.get("/i/a")
    assert (answer.status, answer.body) == (200, SMALL)
    await images.add("b", SMALL)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), key="*b.png", method="GET", times=None))
    answer = await nginx.get("/i/b")
    assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"InternalError" not in answer.body
    assert (await nginx.get("/i/never-there")).json()["code"] == "image_not_found"


async def test_an_object_that_changes_before_the_fetch_is_not_cached_as_the_old_version(
    nginx: Nginx, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Change(data=b"another version"), method="GET"))
    answer = await nginx.get("/i/a")
    assert (answer.status, answer.body) == (200, b"another version")
    assert answer.headers["ETag"] != f'"{SMALL.hex()}"'
    assert (await nginx.get("/i/a")).body == b"another version"


async def test_concurrent_requests_are_one_get_at_cos(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL * 10)
    cos.faults.add(Fault(action=Drip(size=20_000, every=0.02), method="GET"))
    answers = await asyncio.gather(*(nginx.get("/i/a") for _ in range(50)))
    assert {(answer.status, len(answer.body)) for answer in answers} == {(200, len(SMALL) * 10)}
    assert [seen.method for seen in cos.request_log.requests] == ["HEAD", "GET"]


async def test_a_truncated_object_is_not_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    images.cos.store.put(BUCKET, "a.png", LARGE)
    await images.add_row(ImageRow("a", None, "a.png", public=True))
    cos.faults.add(Fault(action=Cut(at=1_000_000), method="GET"))
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
        await nginx.get("/i/a")
    assert (await nginx.get("/i/a")).body == LARGE.read(0, LARGE.size)


async def test_connections_to_cos_are_reused(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    for number in range(10):
        await images.add(f"n{number}", SMALL)
        assert (await nginx.get(f"/i/n{number}")).status == 200
    assert cos.request_log.connections <= 3
    # A presigned URL is a bearer credential.
    assert not re.search(r"q-sign", "".join(path.name for path in Path(nginx.folder).rglob("*")) + nginx.log)
