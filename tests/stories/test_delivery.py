"""Delivery as nginx, CDNs and browsers see it: ranges, conditions, caches, and an origin that fails half-way."""

import asyncio
import contextlib
import gzip
import re
import socket
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
import yarl

from gateway.api.app_keys import INVALIDATION
from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.faults import (
    Change,
    Chunked,
    Cut,
    Drip,
    Fault,
    Gzip,
    Hang,
    NoLength,
    Refuse,
    Reset,
    WrongLength,
)
from gateway.cos_emulator.faults import Headers as AddedHeaders
from gateway.cos_emulator.server import CosEmulator
from gateway.dev.database import ImageRow
from tests.conftest import BUCKET, Answer, Images, RunningGateway, StartGateway
from tests.raw_client import connect, exchange

KEY = "objects/a.png"
SMALL = bytes(range(256)) * 40
LARGE = SyntheticContent(5_000_000)
NO_CACHE = {"max_bytes": 0}
ALWAYS_ASK = {"ttl": 0}
DAY = 86_400


@pytest.fixture
async def forgetful(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that asks COS about everything, always."""
    return await start_gateway(image_proxy={"memory_cache": {**NO_CACHE, **ALWAYS_ASK}})


async def add_large(images: Images, content: SyntheticContent = LARGE, image_id: str = "a") -> None:
    """A public image that memory does not keep."""
    await content.digests()  # here, not while a time-out of the gateway runs
    images.cos.store.put(BUCKET, f"objects/{image_id}.png", content)
    await images.add_row(ImageRow(image_id, None, f"objects/{image_id}.png", public=True))


def asked(cos: CosEmulator) -> list[tuple[str, str | None]]:
    """Method and Range of every request that COS has seen."""
    return [(seen.method, seen.range) for seen in cos.journal.requests]


@contextlib.asynccontextmanager
async def a_client(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that takes little at a time."""
    async with aiohttp.ClientSession(base_url=gateway.ports.public, read_bufsize=1024) as session:
        yield session


def _narrow_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose kernel takes little before the client does."""
    family, kind, protocol, _, _ = address
    narrow = socket.socket(family, kind, protocol)
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    return narrow


async def cut_off(gateway: RunningGateway, path: str = "/i/a") -> bytes:
    """What arrived of an answer that begins as a 200 and must not end as one."""
    received = bytearray()
    async with gateway.session.get(gateway.ports.public + path) as answer:
        assert answer.status == 200
        try:
            async for piece in answer.content.iter_any():
                received += piece
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError):
            return bytes(received)
    pytest.fail("the answer came to a normal end")


@pytest.mark.parametrize("size", [len(SMALL), LARGE.size], ids=["small", "large"])
@pytest.mark.parametrize("is_known", [False, True], ids=["cold", "known"])
@pytest.mark.parametrize("max_bytes", [0, 1 << 20], ids=["no-memory", "memory"])
class TestRanges:
    """One range of bytes (RFC 9110 section 14), the same whatever is known and wherever the bytes are."""

    @pytest.fixture
    async def gateway(
        self, start_gateway: StartGateway, images: Images, size: int, is_known: bool, max_bytes: int
    ) -> RunningGateway:
        """With the image in it, asked for before or not."""
        gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": max_bytes}})
        await add_large(images, SyntheticContent(size))
        if is_known:
            await gateway.get("/i/a")
        return gateway

    @pytest.mark.parametrize(
        ("asked_for", "first", "stop"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=100-299", 100, 300),
            ("bytes=9000-", 9000, None),
            ("bytes=-500", -500, None),
            ("bytes=-99999999", 0, None),
            ("bytes=5-99999999", 5, None),
        ],
    )
    async def test_a_satisfiable_one_is_a_206(
        self, gateway: RunningGateway, size: int, asked_for: str, first: int, stop: int | None
    ) -> None:
        whole = SyntheticContent(size).read(0, size)
        answer = await gateway.get("/i/a", headers={"Range": asked_for})
        expected = whole[first:stop]
        start = first if first >= 0 else size + first
        assert (answer.status, answer.body) == (206, expected)
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
        assert answer.headers["Content-Length"] == str(len(expected))

    @pytest.mark.parametrize("asked_for", ["bytes={size}-", "bytes=99999999-", "bytes=-0"])
    async def test_one_beyond_the_end_is_a_416_that_tells_the_size(
        self, gateway: RunningGateway, size: int, asked_for: str
    ) -> None:
        answer = await gateway.get("/i/a", headers={"Range": asked_for.format(size=size)})
        assert (answer.status, answer.json()["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["Content-Range"] == f"bytes */{size}"

    @pytest.mark.parametrize("ignored", ["bytes=0-1,5-6", "items=0-1", "bytes=5-2", "bytes=-", "bytes=a-b", "nonsense"])
    async def test_what_is_not_one_range_is_ignored(self, gateway: RunningGateway, size: int, ignored: str) -> None:
        answer = await gateway.get("/i/a", headers={"Range": ignored})
        assert (answer.status, len(answer.body)) == (200, size)

    async def test_if_range_decides_whether_the_range_counts(self, gateway: RunningGateway, size: int) -> None:
        head = await gateway.request("HEAD", "/i/a")
        ranged = {"Range": "bytes=5-9"}
        for applies, validator in [
            (True, head.headers["ETag"]),
            (True, head.headers["Last-Modified"]),
            (False, '"another"'),
            (False, f"W/{head.headers['ETag']}"),  # section 13.1.5: a strong comparison
            (False, formatdate(0, usegmt=True)),
            (False, "nonsense"),
        ]:
            answer = await gateway.get("/i/a", headers={**ranged, "If-Range": validator})
            assert (answer.status, len(answer.body)) == ((206, 5) if applies else (200, size)), validator

    async def test_if_range_comes_before_a_range_that_cannot_be_had(self, gateway: RunningGateway, size: int) -> None:
        answer = await gateway.get("/i/a", headers={"Range": "bytes=99999999-", "If-Range": '"another"'})
        assert (answer.status, len(answer.body)) == (200, size)

    async def test_head_has_no_ranges(self, gateway: RunningGateway, size: int) -> None:
        """RFC 9110 section 14.2: Range is defined for GET alone."""
        answer = await gateway.request("HEAD", "/i/a", headers={"Range": "bytes=0-5"})
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(size))


class TestConditions:
    """RFC 9110 section 13, with the precedence of 13.2.2."""

    @pytest.fixture(params=["asks COS", "knows"])
    async def gateway(self, request: pytest.FixtureRequest, start_gateway: StartGateway) -> RunningGateway:
        """One that asks COS about everything, and one that remembers."""
        if request.param == "knows":
            return await start_gateway()
        return await start_gateway(image_proxy={"memory_cache": {**NO_CACHE, **ALWAYS_ASK}})

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_table_of_conditions(self, gateway: RunningGateway, images: Images, method: str) -> None:
        await images.add("a", SMALL)
        first = await gateway.get("/i/a")
        etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
        old, future = formatdate(0, usegmt=True), formatdate(4_000_000_000, usegmt=True)
        table: list[tuple[dict[str, str], int]] = [
            ({"If-None-Match": etag}, 304),
            ({"If-None-Match": f"W/{etag}"}, 304),
            ({"If-None-Match": "*"}, 304),
            ({"If-None-Match": f'"x", W/"y" , {etag}'}, 304),
            ({"If-None-Match": '"x", "y"'}, 200),
            ({"If-None-Match": "nonsense"}, 200),
            ({"If-None-Match": '"x"', "If-Modified-Since": modified}, 200),
            ({"If-None-Match": etag, "If-Modified-Since": old}, 304),
            ({"If-Modified-Since": modified}, 304),
            ({"If-Modified-Since": future}, 304),
            ({"If-Modified-Since": old}, 200),
            ({"If-Modified-Since": "nonsense"}, 200),
            ({"If-Match": etag}, 200),
            ({"If-Match": "*"}, 200),
            ({"If-Match": '"x"'}, 412),
            ({"If-Match": f"W/{etag}"}, 412),
            ({"If-Match": etag, "If-None-Match": etag}, 304),
            ({"If-Match": '"x"', "If-None-Match": etag}, 412),
            ({"If-Unmodified-Since": modified}, 200),
            ({"If-Unmodified-Since": old}, 412),
            ({"If-Match": etag, "If-Unmodified-Since": old}, 200),
            ({"If-None-Match": etag, "Range": "bytes=0-1"}, 304),
            ({"If-Match": '"x"', "Range": "bytes=0-1"}, 412),
        ]
        for headers, status in table:
            answer = await gateway.request(method, "/i/a", headers=headers)
            assert answer.status == status, headers
            if status == 304:
                assert answer.body == b""
                assert answer.headers["ETag"] == etag
                # RFC 9110 section 15.4.5: what a 200 would have had
                assert answer.headers["Cache-Control"] == first.headers["Cache-Control"]
                assert "Content-Type" not in answer.headers


async def test_head_304_and_416_are_answered_without_cos_while_the_facts_are_fresh(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway()
    await add_large(images)
    etag = (await gateway.request("HEAD", "/i/a")).headers["ETag"]
    assert asked(cos) == [("HEAD", None)]
    assert (await gateway.request("HEAD", "/i/a")).headers["Cache-Status"].startswith("image-gateway; hit; ttl=")
    assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).status == 304
    assert (await gateway.get("/i/a", headers={"If-Match": '"x"'})).status == 412
    assert (await gateway.get("/i/a", headers={"Range": "bytes=9999999-"})).status == 416
    assert asked(cos) == [("HEAD", None)]
    # A range teaches as much as the whole.
    await add_large(images, image_id="b")
    await gateway.get("/i/b", headers={"Range": "bytes=0-9"})
    assert (await gateway.request("HEAD", "/i/b")).headers["Content-Length"] == str(LARGE.size)
    assert asked(cos)[1:] == [("GET", "bytes=0-9")]


async def test_facts_are_asked_for_again_when_they_are_old(
    forgetful: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", SMALL)
    for _ in range(2):
        assert (await forgetful.request("HEAD", "/i/a")).status == 200
    assert len(cos.journal.requests) == 2
    await images.add("a", SMALL + b"more")
    assert (await forgetful.request("HEAD", "/i/a")).headers["Content-Length"] == str(len(SMALL) + 4)


async def test_an_unknown_method_is_405_and_says_what_is_allowed(gateway: RunningGateway) -> None:
    answer = await gateway.request("DELETE", "/i/a")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")


class TestCacheHeaders:
    """What caches may keep, and for how long."""

    async def test_public_and_private_images(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", SMALL)
        await images.add("mine", SMALL, owner="alice", public=False)
        public = await gateway.get("/i/a")
        assert public.headers["Cache-Control"] == (
            "public, max-age=3600, stale-while-revalidate=300, stale-if-error=86400"
        )
        assert "Vary" not in public.headers  # nothing of a public image depends on who asks, or from where
        for _ in range(2):
            private = await gateway.get("/i/mine", user="alice")
            assert private.headers["Cache-Control"] == "private, max-age=3600"
            assert private.headers["Vary"] == "Authorization"

    async def test_errors_are_not_kept(self, gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
        """Lesson 4: errors cached for a year."""
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
        for path in ("/i/a", "/i/never-there", "/i/a?style=none", "/i/-bad"):
            answer = await gateway.get(path)
            assert answer.status >= 400
            assert answer.headers["Cache-Control"] == "no-store"

    async def test_cache_status_tells_the_way_of_an_answer(self, start_gateway: StartGateway, images: Images) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 30}})
        await images.add("a", SMALL)
        cold, warm = await gateway.get("/i/a"), await gateway.get("/i/a")
        assert cold.headers["Cache-Status"] == "image-gateway; fwd=miss; fwd-status=200; stored"
        assert "Age" not in cold.headers
        assert warm.headers["Cache-Status"] in ("image-gateway; hit; ttl=29", "image-gateway; hit; ttl=30")
        assert warm.headers["Age"] == "0"
        assert warm.headers["Server-Timing"].startswith("gateway;dur=")

    async def test_an_svg_is_shown_and_cannot_run_script(self, gateway: RunningGateway, images: Images) -> None:
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
        await images.add("a", svg, content_type="image/svg+xml")
        answer = await gateway.get("/i/a")
        assert (answer.body, answer.headers["Content-Type"]) == (svg, "image/svg+xml")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert "allow-scripts" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    async def test_canvas_and_fetch_can_use_an_image(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", SMALL)
        answer = await gateway.get("/i/a", headers={"Origin": "https://page.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert "Cache-Status" in answer.headers["Access-Control-Expose-Headers"]
        preflight = await gateway.request(
            "OPTIONS", "/i/a", headers={"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
        )
        assert preflight.status == 204
        assert "Range" in preflight.headers["Access-Control-Allow-Headers"]
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


class TestBeforeTheFirstByte:
    """What fails before the status is sent is tried again, within limits."""

    @pytest.mark.parametrize(
        "action",
        [
            Refuse(status=500, code="InternalError"),
            Refuse(status=503, code="SlowDown"),
            Refuse(status=503, code="SlowDown", headers={"Retry-After": "0"}),
            Reset(),
            Cut(at=0, reset=True),
        ],
        ids=["500", "503", "503-retry-after", "reset", "cut"],
    )
    async def test_a_passing_failure_is_not_seen(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, action: Any
    ) -> None:
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=action, times=2))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body) == (200, SMALL)

    async def test_a_kept_alive_connection_that_cos_closed_is_not_seen(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        """Hazard 1.3: reused sockets can be closed by COS under us."""
        for image_id in "abcdef":
            await images.add(image_id, SMALL)
            cos.faults.add(Fault(action=Reset(), key=f"*{image_id}.png"))
            assert (await gateway.get(f"/i/{image_id}")).status == 200

    async def test_retry_after_is_kept_to_or_passed_on(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Refuse(headers={"Retry-After": "17"}), times=None))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "17")
        assert len(cos.journal.requests) == 1
        cos.faults.clear()
        cos.faults.add(Fault(action=Refuse(headers={"Retry-After": "1"})))
        started = asyncio.get_running_loop().time()
        assert (await gateway.get("/i/a")).status == 200
        assert asyncio.get_running_loop().time() - started >= 1

    async def test_an_origin_that_does_not_answer_is_a_504(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"timeout": 0.3})
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Hang(), times=None))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (504, "origin_timeout")

    async def test_a_bucket_that_fails_is_left_alone_and_found_again(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"retry_count": 0})
        for number in range(20):
            await images.add(f"n{number}", SMALL)
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=10))
        statuses = [(await gateway.get(f"/i/n{number}")).status for number in range(20)]
        assert statuses == [502] * 10 + [503] * 10
        refused = await gateway.get("/i/a")
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("origin_paused", "2")
        assert len(cos.journal.requests) == 10
        async with asyncio.timeout(5):
            while (await gateway.get("/i/a")).status != 200:
                await asyncio.sleep(0.02)

    async def test_retries_are_a_share_of_the_requests(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        """An origin in trouble does not get four times the load: 20 retries to spend, then a fifth of the requests."""
        gateway = await start_gateway()
        await images.add("ok", SMALL)
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), key="*a.png", times=None))
        for _ in range(40):
            await gateway.get("/i/a")
            cos.journal.clear()
            await gateway.get("/i/ok", headers={"Range": "bytes=0-1"})
        assert gateway.sample("origin_retries_total") <= 20 + 0.2 * 80


class TestAfterTheFirstByte:
    """Once the status is spent: whole and right, or cut. Never a short 200, never mixed bytes (hazards 1.1 and 1.2)."""

    @pytest.mark.parametrize(
        "action",
        [Cut(at=1_000_000), Cut(at=1_000_000, reset=True), Cut(at=4_999_999), Hang(at=300_000), WrongLength(by=0)],
        ids=["fin", "reset", "last-byte", "stall", "close"],
    )
    async def test_a_lost_origin_is_resumed(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator, action: Any
    ) -> None:
        gateway = await start_gateway(image_proxy={"timeout": 0.5})
        await add_large(images)
        cos.faults.add(Fault(action=action))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body) == (200, LARGE.read(0, LARGE.size))
        seen = cos.journal.of(KEY)
        if len(seen) > 1:
            assert seen[1].headers["if-match"] == answer.headers["ETag"]
            assert seen[1].status == 206
            assert gateway.sample("origin_resumes_total") == 1

    async def test_a_range_is_resumed_within_itself(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=Cut(at=500_000)))
        answer = await gateway.get("/i/a", headers={"Range": "bytes=1000000-3999999"})
        assert (answer.status, answer.body) == (206, LARGE.read(1_000_000, 4_000_000))
        first, second = asked(cos)
        assert first == ("GET", "bytes=1000000-3999999")
        assert second[1] is not None
        assert second[1].endswith("-3999999")

    async def test_it_is_resumed_as_often_as_it_gets_on(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=Cut(at=700_000), times=7))
        assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)

    async def test_a_stale_url_is_renewed_when_resuming(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=Cut(at=1_000_000)))
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), skip=1))
        assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)
        assert len(cos.journal.requests) == 3

    @pytest.mark.parametrize(
        "then",
        [
            Change(data=b"y" * 5_000_000),
            Change(data=b"short"),
            Change(run=lambda _bucket, _key: None),
            Refuse(status=404, code="NoSuchKey"),
            Refuse(status=500, code="InternalError"),
            Refuse(status=403, code="AccessDenied"),
            AddedHeaders(remove=["ETag"]),
            AddedHeaders(remove=["Content-Range"], add=[("Content-Range", "bytes 0-99/5000000")]),
        ],
        ids=["changed", "shorter", "cut-again", "deleted", "failing", "refused", "no-etag", "another-range"],
    )
    async def test_a_client_is_cut_when_the_rest_cannot_be_had(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator, then: Any
    ) -> None:
        gateway = await start_gateway(image_proxy={"retry_count": 1})
        await add_large(images)
        cos.faults.add(Fault(action=Cut(at=1_000_000)))
        cos.faults.add(Fault(action=then, times=None, skip=1))
        cos.faults.add(Fault(action=Cut(at=0), times=None))
        received = await cut_off(gateway)
        assert received == LARGE.read(0, len(received))
        assert gateway.sample("requests_total", route="short", delivery="stream", status="aborted") == 1

    async def test_without_an_etag_nothing_is_pieced_together(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=AddedHeaders(remove=["ETag"]), times=None))
        cos.faults.add(Fault(action=Cut(at=1_000_000)))
        await cut_off(gateway)
        assert len(cos.journal.requests) == 1

    async def test_a_body_longer_than_announced_is_cut_before_its_last_byte(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=WrongLength(by=-1000), times=None))
        assert len(await cut_off(gateway)) < LARGE.size - 1000

    async def test_a_body_shorter_than_announced_is_cut(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=WrongLength(by=1000), times=None))
        assert len(await cut_off(gateway)) <= LARGE.size

    async def test_chunks_without_a_length_arrive_whole(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=Chunked()))
        answer = await gateway.get("/i/a")
        assert answer.body == LARGE.read(0, LARGE.size)
        assert "Content-Length" not in answer.headers

    @pytest.mark.parametrize("cut_at", [None, 1_000_000])
    async def test_a_body_that_ends_with_its_connection_is_held_against_the_checksum(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, cut_at: int | None
    ) -> None:
        """Hazard 1.2: with neither length nor chunks, a lost connection reads as a clean end."""
        await add_large(images)
        cos.faults.add(Fault(action=NoLength(cut_at=cut_at)))
        assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)
        assert len(cos.journal.requests) == (1 if cut_at is None else 2)

    async def test_without_length_chunks_and_checksum_there_is_no_telling(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        cos.faults.add(Fault(action=AddedHeaders(remove=["x-cos-hash-crc64ecma"])))
        cos.faults.add(Fault(action=NoLength()))
        assert (await gateway.get("/i/a")).status == 502

    @pytest.mark.parametrize("data", [SMALL, b"x" * 3_000_000], ids=["small", "large"])
    async def test_a_wrong_checksum_never_ends_well(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, data: bytes
    ) -> None:
        await images.add("a", data)
        crc = "x-cos-hash-crc64ecma"
        cos.faults.add(Fault(action=AddedHeaders(remove=[crc], add=[(crc, "1")]), times=None))
        if data is SMALL:
            assert (await gateway.get("/i/a")).status == 502
        else:
            assert len(await cut_off(gateway)) < len(data)
        cos.faults.clear()
        assert (await gateway.get("/i/a")).body == data  # and nothing of it was kept

    async def test_a_compressed_body_nobody_asked_for_does_not_pass_for_the_image(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Gzip(), times=None))
        assert (await gateway.get("/i/a")).status == 502

    async def test_an_object_stored_compressed_is_sent_as_it_is(self, gateway: RunningGateway, images: Images) -> None:
        """Lesson 4: a stale Content-Encoding after decompression; hazard 1.3: lengths that lie."""
        packed = gzip.compress(b"<svg/>" * 100)
        await images.add("a", packed, content_type="image/svg+xml", headers={"Content-Encoding": "gzip"})
        for _ in range(2):
            answer = await gateway.get("/i/a")
            assert (answer.body, answer.headers["Content-Encoding"]) == (packed, "gzip")

    async def test_a_cut_answer_is_not_the_beginning_of_the_next(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        """Hazard 1.1: the next answer on the connection is read as the rest of this one."""
        await add_large(images)
        cos.faults.add(Fault(action=AddedHeaders(remove=["ETag"])))
        cos.faults.add(Fault(action=Cut(at=1_000_000)))
        request = b"GET /i/a HTTP/1.1\r\nHost: gateway\r\n\r\n"
        received = await exchange(gateway.ports.public, request + b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert received.count(b"HTTP/1.1 ") == 1


class TestManyAtOnce:
    """One origin transfer for all who ask at once."""

    @pytest.mark.parametrize("size", [20_000, 1_500_000, 3_000_000])
    async def test_three_hundred_for_one_cold_image_are_one_get(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, size: int
    ) -> None:
        content = SyntheticContent(size)
        await add_large(images, content)
        cos.faults.add(Fault(action=Drip(size=size // 10, every=0.05)))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(gateway.ports.public, connector=connector) as session:

            async def fetch() -> bool:
                async with session.get("/i/a") as answer:
                    return await answer.read() == content.read(0, size)

            assert all(await asyncio.gather(*(fetch() for _ in range(300))))
        assert asked(cos) == [("GET", None)]

    async def test_a_late_comer_joins_and_a_leaver_harms_nobody(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL * 100)
        cos.faults.add(Fault(action=Drip(size=50_000, every=0.05)))
        async with a_client(gateway) as session:
            leaver = await session.get("/i/a")
            late = asyncio.create_task(gateway.get("/i/a"))
            async with asyncio.timeout(5):
                while gateway.sample("coalesced_requests_total") == 0:
                    await asyncio.sleep(0.005)
            leaver.close()
        answer = await late
        assert answer.body == SMALL * 100
        assert "collapsed" in answer.headers["Cache-Status"]
        assert asked(cos) == [("GET", None)]

    async def test_the_first_may_leave_before_cos_has_answered(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Hang()))
        first = asyncio.create_task(gateway.get("/i/a"))
        await cos.journal.arrived(1)
        second = asyncio.create_task(gateway.get("/i/a"))
        async with asyncio.timeout(5):
            while gateway.sample("coalesced_requests_total") == 0:
                await asyncio.sleep(0.005)
        first.cancel()
        answer = await second
        assert (answer.status, answer.body) == (200, SMALL)

    async def test_a_failure_is_shared_and_not_kept(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"retry_count": 0})
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError")))
        answers = await asyncio.gather(*(gateway.get("/i/a") for _ in range(20)))
        assert {answer.status for answer in answers} <= {200, 502}
        assert len(cos.journal.requests) <= 2
        assert (await gateway.get("/i/a")).body == SMALL

    async def test_who_falls_behind_gets_the_rest_on_its_own(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"timeout": 20})
        content = SyntheticContent(12_000_000)
        await add_large(images, content)
        cos.faults.add(Fault(action=Drip(size=400_000, every=0.03)))
        connector = aiohttp.TCPConnector(socket_factory=_narrow_socket)
        async with aiohttp.ClientSession(gateway.ports.public, connector=connector, read_bufsize=1024) as session:
            slow = await session.get("/i/a")
            received = bytearray(await slow.content.readexactly(1000))
            fast = await gateway.get("/i/a")
            assert fast.body == content.read(0, content.size)
            assert "collapsed" in fast.headers["Cache-Status"]
            received += await slow.read()
        assert received == content.read(0, content.size)
        first, second = cos.journal.requests
        assert (first.range, first.headers.get("if-match")) == (None, None)
        assert (second.status, second.headers["if-match"]) == (206, slow.headers["ETag"])

    async def test_two_ids_of_one_object_share_bytes_and_not_access(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("open", SMALL, key="one.png")
        await images.add("mine", SMALL, key="one.png", owner="alice", public=False)
        assert (await gateway.get("/i/mine", user="alice")).headers["Cache-Control"].startswith("private")
        assert (await gateway.get("/i/open")).headers["Cache-Control"].startswith("public")
        assert (await gateway.get("/i/mine", user="bob")).status == 404
        assert len(cos.journal.requests) == 1

    async def test_beyond_max_streams_it_is_503_at_once_while_health_answers(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(server={"max_streams": 2})
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Hang(), times=None))
        held = [asyncio.create_task(gateway.get("/i/a")) for _ in range(2)]
        async with asyncio.timeout(5):
            while gateway.sample("coalesced_requests_total") == 0:
                await asyncio.sleep(0.005)
        refused = await gateway.get("/i/a")
        assert (refused.status, refused.json()["code"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await gateway.get("/healthz")).status == 200
        assert (await gateway.get("/metrics", admin=True)).status == 200
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


class TestMemory:
    """Bytes of small hot images in the process."""

    async def test_private_bytes_in_memory_are_for_their_owner_alone(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("mine", SMALL, owner="alice", public=False)
        for _ in range(3):
            assert (await gateway.get("/i/mine", user="alice")).body == SMALL
            for headers in ({}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
                assert (await gateway.get("/i/mine", user="bob", headers=headers)).status == 404
        assert len(cos.journal.requests) == 1

    async def test_ranges_of_what_is_kept_come_from_memory(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL)
        await gateway.get("/i/a")
        answer = await gateway.get("/i/a", headers={"Range": "bytes=10-19"})
        assert (answer.status, answer.body) == (206, SMALL[10:20])
        assert len(cos.journal.requests) == 1
        assert gateway.sample("memory_cache_bytes") == len(SMALL)

    async def test_old_bytes_are_revalidated_by_their_etag(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": ALWAYS_ASK})
        await images.add("a", SMALL)
        etag = (await gateway.get("/i/a")).headers["ETag"]
        again = await gateway.get("/i/a")
        assert (again.body, again.headers["Cache-Status"]) == (SMALL, "image-gateway; fwd=stale; fwd-status=304")
        seen = cos.journal.requests[-1]
        assert (seen.headers["if-none-match"], seen.bytes_sent) == (etag, 0)
        # The client's own condition is for the gateway to judge, not for COS.
        assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).status == 304
        await images.add("a", b"another version")
        assert (await gateway.get("/i/a")).body == b"another version"
        assert (await gateway.get("/i/a", headers={"If-None-Match": etag})).body == b"another version"

    async def test_stale_bytes_are_served_while_they_are_asked_about(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 1}})
        await images.add("a", SMALL)
        await gateway.get("/i/a")
        await images.add("a", b"another version")
        async with asyncio.timeout(5):
            while (answer := await gateway.get("/i/a")).headers["Cache-Status"] != "image-gateway; hit; ttl=0":
                await asyncio.sleep(0.02)
        seen = []
        async with asyncio.timeout(5):
            while answer.body == SMALL:
                answer = await gateway.get("/i/a")
                seen.append(answer.headers["Cache-Status"])
                await asyncio.sleep(0.01)
        assert answer.body == b"another version"
        assert all(status.startswith("image-gateway; hit") for status in seen)
        assert asked(cos) == [("GET", None)] * 2

    @pytest.mark.parametrize("action", [Refuse(status=500, code="InternalError"), Refuse(), Hang(), Reset()])
    async def test_stale_bytes_stand_in_when_cos_fails(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator, action: Any
    ) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": ALWAYS_ASK, "timeout": 0.3})
        await images.add("a", SMALL)
        await gateway.get("/i/a")
        cos.faults.add(Fault(action=action, times=None))
        for _ in range(15):  # the breaker opens on the way
            answer = await gateway.get("/i/a")
            assert (answer.status, answer.body) == (200, SMALL)
            assert answer.headers["Cache-Status"] == "image-gateway; fwd=stale; detail=stale-if-error"
        assert (await gateway.get("/i/a", headers={"Range": "bytes=1-2"})).body == SMALL[1:3]

    async def test_what_is_deleted_is_not_served_from_memory(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": ALWAYS_ASK})
        await images.add("a", SMALL)
        await gateway.get("/i/a")
        cos.store.delete(BUCKET, KEY)
        assert (await gateway.get("/i/a")).status == 404
        assert gateway.sample("memory_cache_bytes") == 0

    async def test_an_image_that_changed_is_dropped_at_once(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        """Also while the old version is still on its way: it must not be kept when it arrives."""
        await images.add("a", SMALL)
        cos.faults.add(Fault(action=Drip(size=len(SMALL) // 2, every=0.2)))
        under_way = asyncio.create_task(gateway.get("/i/a"))
        await cos.journal.arrived(1)
        await images.add("a", b"another version")
        gateway.app[INVALIDATION].invalidate_here("a")
        assert (await gateway.get("/i/a")).body == b"another version"
        await under_way
        for _ in range(2):
            assert (await gateway.get("/i/a")).body == b"another version"
        await images.add("a", b"third version")
        gateway.app[INVALIDATION].invalidate_here("a")
        assert (await gateway.get("/i/a")).body == b"third version"

    async def test_styles_are_kept_apart(self, start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
        gateway = await start_gateway(image_styles={"thumb": "imageMogr2/thumbnail/300x300"})
        await images.add("a", SMALL)
        for path in ("/i/a", "/i/a?style=thumb"):
            for _ in range(2):
                assert (await gateway.get(path)).status == 200
        assert len(cos.journal.requests) == 2
        unknown = await gateway.get("/i/a?style=huge")
        assert (unknown.status, len(cos.journal.requests)) == (400, 2)

    async def test_memory_is_bounded(self, start_gateway: StartGateway, images: Images) -> None:
        gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": 100_000, "max_object_bytes": 40_000}})
        for number in range(6):
            await images.add(f"n{number}", bytes([number]) * 30_000)
            assert (await gateway.get(f"/i/n{number}")).status == 200
            assert gateway.sample("memory_cache_bytes") <= 100_000
        await images.add("big", b"x" * 50_000)
        for _ in range(2):
            assert "stored" not in (await gateway.get("/i/big")).headers["Cache-Status"]
        assert (await gateway.get("/i/n5")).headers["Cache-Status"].startswith("image-gateway; hit")
        assert (await gateway.get("/i/n0")).body == bytes([0]) * 30_000

    async def test_a_renewed_row_is_checked_again(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        """The URL was refused; meanwhile the row became somebody else's, or names another object."""
        await images.add("a", SMALL)
        await gateway.get("/api/v1/images/a/url")
        await images.add("a", SMALL, owner="alice", public=False)
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied")))
        assert (await gateway.get("/i/a")).status == 404
        await images.add("b", SMALL)
        await gateway.get("/api/v1/images/b/url")
        await images.add("b", b"moved", key="elsewhere.png")
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key="objects/b.png"))
        assert (await gateway.get("/i/b")).body == b"moved"


async def test_a_client_that_takes_nothing_is_given_up(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """Hazard 1.6: a client that never reads blocks a write for ever."""
    gateway = await start_gateway(image_proxy={"timeout": 0.5})
    await add_large(images, SyntheticContent(20_000_000))
    async with connect(gateway.ports.public, receive_buffer=1024) as connection:
        await connection.get("/i/a")
        async with asyncio.timeout(10):
            while not gateway.sample("requests_total", route="short", delivery="stream", status="499"):
                await asyncio.sleep(0.02)
            await cos.journal.settled()


async def test_a_download_is_named_the_same_from_cos_and_from_memory(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", SMALL)
    answers: list[Answer] = [await gateway.get("/i/a", params={"download": 'a "b" 图.png'}) for _ in range(2)]
    for answer in answers:
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"a _b_ _.png\"; filename*=UTF-8''a%20%22b%22%20%E5%9B%BE.png"
        )
    assert "Content-Disposition" not in (await gateway.get("/i/a")).headers


class TestAccel:
    """What nginx is told; ``tests/nginx`` has the rest of the way."""

    @pytest.fixture
    async def gateway(self, start_gateway: StartGateway) -> RunningGateway:
        """One that hands over, and hears of changes by itself alone."""
        return await start_gateway(
            image_proxy={"delivery": "accel", "accel_prefix": "/_bytes/"}, postgres={"listen": False}
        )

    async def test_the_exact_url_stands_in_a_header_of_its_own(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("mine", SMALL, key="a b/图%2F.png", owner="alice", public=False)
        answer = await gateway.get("/i/mine", user="alice")
        assert (answer.status, answer.body) == (200, b"")
        assert re.fullmatch("/_bytes/[0-9a-f]{40}", answer.headers["X-Accel-Redirect"])
        async with gateway.session.get(yarl.URL(answer.headers["X-Origin-URL"], encoded=True)) as fetched:
            assert (await fetched.read(), fetched.headers["ETag"]) == (SMALL, answer.headers["X-Origin-ETag"])
            assert fetched.headers["Content-Length"] == answer.headers["X-Origin-Length"]
        assert (await gateway.get("/i/mine", user="bob")).status == 404
        again = await gateway.get("/i/mine", user="alice")
        assert again.headers["X-Accel-Redirect"] == answer.headers["X-Accel-Redirect"]
        assert [seen.method for seen in cos.journal.requests] == ["HEAD", "GET"]

    async def test_what_nginx_would_put_on_errors_too_has_names_of_its_own(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("mine", SMALL, owner="alice", public=False)
        answer = await gateway.get("/i/mine?download=a.png", user="alice")
        assert answer.headers["X-Image-Cache-Control"].startswith("private")
        assert answer.headers["X-Image-Content-Disposition"] == 'attachment; filename="a.png"'
        assert not {"Cache-Control", "Content-Disposition"} & set(answer.headers)

    @pytest.mark.parametrize("headers", [{"Range": "bytes=5-2"}, {"If-Unmodified-Since": "nonsense"}])
    async def test_what_nginx_would_read_otherwise_is_streamed(
        self, gateway: RunningGateway, images: Images, headers: dict[str, str]
    ) -> None:
        await images.add("a", SMALL)
        answer = await gateway.get("/i/a", headers=headers)
        assert (answer.status, answer.body) == (200, SMALL)
        assert "X-Accel-Redirect" not in answer.headers

    async def test_what_needs_no_bytes_is_answered_at_once(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await add_large(images)
        head = await gateway.request("HEAD", "/i/a")
        assert head.headers["Content-Length"] == str(LARGE.size)
        assert (await gateway.get("/i/a", headers={"If-None-Match": head.headers["ETag"]})).status == 304
        assert (await gateway.get("/i/a", headers={"Range": "bytes=9999999-"})).status == 416
        part = await gateway.get("/i/a", headers={"Range": "bytes=5-9"})
        assert part.headers["X-Accel-Redirect"].startswith("/_bytes/part/")
        assert (part.headers["X-Origin-Range"], part.headers["X-Origin-Length"]) == ("bytes=5-9", "5")
        assert asked(cos) == [("HEAD", None)]

    async def test_a_refused_url_is_renewed_before_nginx_meets_it(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", SMALL)
        await images.add("b", SMALL)
        for image_id in "ab":
            await gateway.get(f"/api/v1/images/{image_id}/url")
        await images.add("b", b"moved", key="elsewhere.png")
        for key in ("objects/a.png", "objects/b.png"):
            cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=key))
        answer = await gateway.get("/i/a")
        assert "X-Accel-Redirect" in answer.headers
        assert (await gateway.get("/i/b")).body == b"moved"  # streamed, this once

    async def test_what_is_no_image_is_not_handed_over(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", b"<html>", content_type="text/html")
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (502, "not_an_image")


async def test_a_row_that_changes_all_the_time_is_given_up(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """Each renewal finds another object; the request ends all the same."""
    gateway = await start_gateway(url_cache={"enabled": False})
    await images.add("a", SMALL, key="first.png")
    moves = iter(range(100))

    def move(_bucket: str, _key: str) -> None:
        key = f"moved-{next(moves)}.png"
        cos.store.put(BUCKET, key, SMALL)
        images.table.put([ImageRow("a", None, key, public=True)])

    cos.faults.add(Fault(action=Change(run=move), times=None))
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")


async def test_failed_transfers_give_their_memory_back(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(
        image_proxy={"retry_count": 0, "memory_cache": {"max_bytes": 1_000_000, "max_object_bytes": 1_000_000}}
    )
    cos.faults.add(Fault(action=Cut(at=500_000), times=3))
    for image_id in "abc":
        await images.add(image_id, b"x" * 900_000)
        await cut_off(gateway, f"/i/{image_id}")
    for _ in range(2):
        assert (await gateway.get("/i/a")).status == 200
    assert gateway.sample("memory_cache_bytes") == 900_000
