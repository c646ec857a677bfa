"""Requests of the origin client, the outcome of each answer, and retries."""

import asyncio
import gzip
import socket
import time
from collections.abc import Mapping
from contextlib import closing, suppress

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.cos_emulator.faults import Cut, Fault, Hang, Headers, Redirect, Refuse, Reset
from gateway.cos_emulator.server import CosEmulator
from gateway.errors import (
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.metrics.collectors import Metrics
from gateway.origin.client import OriginClient
from gateway.origin.errors import PresignedUrlRefused, VersionChanged
from gateway.origin.refusals import ImageArchived, ImageTooLarge, OriginMisconfigured, OriginRejected, OriginSuspended
from gateway.origin.retry import Backoff, retry_after
from gateway.origin.session import MOST_UNATTENDED, open_origin
from gateway.settings import ImageProxySettings
from tests.conftest import BUCKET
from tests.limits import LIMIT
from tests.origin.conftest import OpenOrigin, Presign, read_all

DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def cat(cos: CosEmulator) -> None:
    """The object that the tests ask for."""
    cos.store.put(BUCKET, "cat.png", DATA, etag="cat-1", last_modified=1_700_000_000)


async def fetch(
    origin: OriginClient, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer read to its end."""
    with closing(await origin.fetch(url, method=method, headers=headers or {})) as response:
        return response.status, await read_all(response)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of a metric."""
    return metrics.registry.get_sample_value(f"image_gateway_{name}", labels) or 0.0


async def test_an_object_is_opened(origin: OriginClient, presign: Presign, metrics: Metrics) -> None:
    with closing(await origin.fetch(presign())) as response:
        headers = response.metadata
        body = await read_all(response)
    assert (response.status, body) == (200, DATA)
    assert (headers.content_type, headers.size, headers.etag) == ("image/png", len(DATA), '"cat-1"')
    assert headers.last_modified == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert counted(metrics, "origin_requests_total", status="200") == 1


async def test_a_range_a_condition_and_a_head_are_passed_on(origin: OriginClient, presign: Presign) -> None:
    assert await fetch(origin, presign(), headers={"Range": "bytes=10-19"}) == (206, DATA[10:20])
    assert await fetch(origin, presign(), headers={"If-None-Match": '"cat-1"'}) == (304, b"")
    assert await fetch(origin, presign(method="HEAD"), method="HEAD") == (200, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_url_signed_for_one_method_is_refused_for_the_other(
    origin: OriginClient, presign: Presign, method: str
) -> None:
    other = "HEAD" if method == "GET" else "GET"
    with pytest.raises(PresignedUrlRefused):
        await fetch(origin, presign(method=other), method=method)


@pytest.mark.parametrize(
    "key",
    [
        "a b.png",
        "a+b.png",
        "a%2Fb.png",
        "100%.png",
        "a#b.png",
        "a?b=c&d.png",
        "'\"(1)[2]{3}!*~;.png",
        "./a.png",
        "a/../b.png",
        "a//b.png",
        "/a.png",
        "图片/日落.png",
        "a\\b|c^d`.png",
        "\u00e9.png",
        "e\u0301.png",
        " ",
        "a/",
    ],
)
async def test_lesson_5_a_presigned_url_is_sent_byte_for_byte(
    origin: OriginClient, presign: Presign, cos: CosEmulator, key: str
) -> None:
    cos.store.put(BUCKET, key.removeprefix("/"), key.encode(), content_type="image/png")
    assert await fetch(origin, presign(key)) == (200, key.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_lesson_5_not_a_byte_of_a_url_is_changed(origin: OriginClient, method: str) -> None:
    target = "/a%2fb/.%2Fc/%21%7E%41//d%20e+f?q-sign-time=1%3B2;3&x=%2F%2f&y=%E5%9B%BE&empty=&bare"
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await fetch(origin, f"http://127.0.0.1:{port}{target}", method=method)
        await origin.diagnose(f"http://127.0.0.1:{port}{target}")
    assert lines == [f"{method} {target} HTTP/1.1".encode(), f"GET {target} HTTP/1.1".encode()]


async def test_lesson_3_a_redirect_is_not_followed(
    origin: OriginClient, presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    cos.store.put(BUCKET, "inner-secret", b"of another service")
    cos.faults.add(Fault(action=Redirect(location=presign("inner-secret")), key="cat.png"))
    with pytest.raises(OriginUnavailable):
        await fetch(origin, presign())
    assert [seen.key for seen in cos.request_log.requests] == ["cat.png"]
    assert counted(metrics, "origin_requests_total", status="302") == 1


async def test_lesson_3_no_compression_is_requested_or_decoded(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    squeezed = gzip.compress(DATA)
    cos.store.put(BUCKET, "cat.svgz", squeezed, headers={"Content-Encoding": "gzip"})
    with closing(await origin.fetch(presign("cat.svgz"))) as response:
        assert await read_all(response) == squeezed
        assert (response.metadata.content_encoding, response.length) == ("gzip", len(squeezed))
    assert cos.request_log.requests[0].headers["accept-encoding"] == "identity"


async def test_nothing_of_one_client_reaches_another_through_the_session(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Headers(add=[("Set-Cookie", "who=alice")])))
    await fetch(origin, presign())
    await fetch(origin, presign())
    sent = cos.request_log.requests[1].headers
    assert {*sent} == {"host", "accept", "accept-encoding", "user-agent"}
    assert sent["accept"] == "*/*"


async def test_lesson_3_connections_are_used_again(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    for _ in range(60):
        assert await fetch(origin, presign()) == (200, DATA)
    assert cos.request_log.connections == 1


async def test_lesson_3_a_connection_that_cos_closed_meanwhile_costs_nothing(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Cut(at=len(DATA))))  # whole, and then the end of the connection
    cos.faults.add(Fault(action=Reset(), skip=1))  # the next one is reset before any byte
    for _ in range(3):
        assert await fetch(origin, presign()) == (200, DATA)


@pytest.mark.parametrize(
    ("status", "code", "outcome", "requests"),
    [
        (403, "AccessDenied", PresignedUrlRefused, 1),
        (404, "NoSuchKey", ImageNotFound, 1),
        (416, "InvalidRange", OriginUnavailable, 1),  # without a range
        (400, "ExpiredToken", PresignedUrlRefused, 1),
        (400, "InvalidArgument", OriginRejected, 1),
        (400, "ImageTooLarge", ImageTooLarge, 1),
        (400, "ImageResolutionExceed", ImageTooLarge, 1),
        (400, "UserCnameInvalid", OriginMisconfigured, 1),
        (400, "BucketAccelerateNotEnabled", OriginMisconfigured, 1),
        (402, "PaymentRequired", OriginSuspended, 1),
        (403, "InvalidObjectState", ImageArchived, 1),
        (403, "DomainAuditFailed", ImageBlocked, 1),
        (404, "NoSuchBucket", OriginMisconfigured, 1),
        (412, "PreconditionFailed", OriginUnavailable, 1),  # under what condition?
        (451, "UnavailableForLegalReasons", ImageBlocked, 1),
        (500, "InternalError", OriginUnavailable, 3),
        (502, "BadGateway", OriginUnavailable, 3),
        (504, "GatewayTimeout", OriginUnavailable, 3),
        (503, "SlowDown", OriginThrottled, 3),
    ],
)
async def test_each_refusal_maps_to_an_outcome_and_only_transient_ones_are_retried(
    origin: OriginClient,
    presign: Presign,
    cos: CosEmulator,
    metrics: Metrics,
    status: int,
    code: str,
    outcome: type[Exception],
    requests: int,
) -> None:
    cos.faults.add(Fault(action=Refuse(status=status, code=code), times=None))
    with pytest.raises(outcome) as raised:
        await fetch(origin, presign())
    assert type(raised.value) is outcome
    assert (code in str(raised.value)) == (status not in {412, 416}), "COS's own word is for the log"
    assert len(cos.request_log.requests) == requests
    assert counted(metrics, "origin_requests_total", status=str(status)) == requests
    assert counted(metrics, "origin_retries_total") == requests - 1


@pytest.mark.parametrize(
    ("field", "status", "outcome"),
    [
        ("If-Match", 412, VersionChanged),
        ("Range", 416, RangeNotSatisfiable),
        ("If-Match", 416, OriginUnavailable),
        ("Range", 412, OriginUnavailable),
        ("If-Match", 206, OriginUnavailable),
        ("If-Match", 304, OriginUnavailable),
        ("Range", 304, OriginUnavailable),
        (None, 206, OriginUnavailable),
        (None, 304, OriginUnavailable),
    ],
)
async def test_a_status_that_the_request_cannot_cause_is_an_error(
    origin: OriginClient, metrics: Metrics, field: str | None, status: int, outcome: type[Exception]
) -> None:
    """A part would be taken for the whole, and a client would get a 304 that it cannot understand."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        fields = b"Content-Range: bytes 0-1/9\r\n" if status == 206 else b""
        body = b"" if status == 304 else b"ab"
        writer.write(b"HTTP/1.1 %d So\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), fields, body))
        writer.close()
        await writer.wait_closed()

    headers = {} if field is None else {field: '"cat-1"' if field == "If-Match" else "bytes=0-1"}
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(outcome):
            await fetch(origin, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png", headers=headers)
    assert counted(metrics, "origin_requests_total", status=str(status)) == 1
    assert counted(metrics, "origin_retries_total") == 0


async def test_a_connection_that_is_reset_before_the_first_byte_is_tried_again(
    origin: OriginClient, presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    cos.faults.add(Fault(action=Reset(), times=2))
    assert await fetch(origin, presign()) == (200, DATA)
    assert counted(metrics, "origin_requests_total", status="error") == 2
    assert counted(metrics, "origin_retries_total") == 2


async def test_a_cos_that_resets_every_connection_is_unavailable(
    origin: OriginClient, presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    cos.faults.add(Fault(action=Reset(), times=None))
    with pytest.raises(OriginUnavailable):
        await fetch(origin, presign())
    assert counted(metrics, "origin_requests_total", status="error") == 3


async def test_a_cos_that_does_not_answer_is_given_up_in_time(
    open_one: OpenOrigin, presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    origin = await open_one(timeout=0.2)
    cos.faults.add(Fault(action=Hang()))
    began = time.monotonic()
    with pytest.raises(OriginTimeout):
        await fetch(origin, presign())
    assert 0.15 < time.monotonic() - began < 20
    assert counted(metrics, "origin_requests_total", status="timeout") == 1


class SilentNameServer(AbstractResolver):
    """Never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Wait until cancelled."""
        del host, port, family
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_name_that_is_not_resolved_fails_within_the_time_out(metrics: Metrics) -> None:
    settings = ImageProxySettings(timeout=0.2)
    async with (
        open_origin(settings, max_connections=1, metrics=metrics, resolver=SilentNameServer()) as origin,
        asyncio.timeout(LIMIT),
    ):
        with pytest.raises(OriginTimeout):
            await fetch(origin, "http://photos.example/cat.png")
    assert counted(metrics, "origin_requests_total", status="timeout") == 1


async def test_a_single_phase_that_takes_too_long_is_given_up_too(
    presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    cos.faults.add(Fault(action=Hang()))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=0.1)) as session:
        origin = OriginClient(session, timeout=5, retry_count=2, metrics=metrics)
        with pytest.raises(OriginTimeout):
            await fetch(origin, presign())
    assert len(cos.request_log.requests) == 1, "a slow COS gets no further requests"


async def test_all_attempts_together_have_one_limit(presign: Presign, cos: CosEmulator, metrics: Metrics) -> None:
    cos.faults.add(Fault(action=Refuse(), times=None))
    async with aiohttp.ClientSession() as session:
        origin = OriginClient(session, timeout=2, retry_count=10, metrics=metrics, backoff=Backoff(lambda: 1.0))
        began = time.monotonic()
        with pytest.raises(GatewayError):
            await fetch(origin, presign())
    assert time.monotonic() - began < 20, "ten retries would take 51 seconds"
    assert 2 <= len(cos.request_log.requests) <= 6, "50, 100, 200, 400 and 800 ms apart"


async def test_a_cos_that_is_not_there_is_unavailable(origin: OriginClient) -> None:
    with pytest.raises(OriginUnavailable) as raised:
        await fetch(origin, "http://127.0.0.1:1/cat.png?q-signature=secret")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content_range", "size"),
    [
        ("bytes */10240", 10240),
        ("bytes */*", None),
        ("bytes */", None),
        ("bytes */-1", None),
        ("bytes */" + "9" * 5000, None),
        ("bytes */²", None),
        ("10", None),
        (None, None),
    ],
)
async def test_a_416_carries_the_size_that_cos_sent(
    origin: OriginClient, presign: Presign, cos: CosEmulator, content_range: str | None, size: int | None
) -> None:
    headers = {} if content_range is None else {"Content-Range": content_range}
    cos.faults.add(Fault(action=Refuse(status=416, code="InvalidRange", headers=headers)))
    with pytest.raises(RangeNotSatisfiable) as raised:
        await fetch(origin, presign(), headers={"Range": "bytes=99999-"})
    assert raised.value.size == size


@pytest.mark.parametrize("retry_after", ["9" * 5000, "²", "-1", "soon", "Sun, 99 Foo"])
async def test_an_invalid_retry_after_is_ignored(
    origin: OriginClient, presign: Presign, cos: CosEmulator, retry_after: str
) -> None:
    cos.faults.add(Fault(action=Refuse(headers={"Retry-After": retry_after}), times=None))
    with pytest.raises(OriginThrottled) as raised:
        await fetch(origin, presign())
    assert raised.value.headers == {"Retry-After": str(OriginThrottled.retry_after)}
    assert len(cos.request_log.requests) == 3


@pytest.mark.parametrize("zone", [" GMT", " -0000", " +0000", ""])
def test_a_wait_does_not_depend_on_the_local_time_zone(far_from_greenwich: None, zone: str) -> None:
    assert retry_after(f"Thu, 01 Jan 1970 00:02:00{zone}", now=lambda: 100.0) == 20


async def test_closing_a_response_early_ends_the_transfer(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    cos.store.put(BUCKET, "large.png", bytes(30_000_000))
    with closing(await origin.fetch(presign("large.png"))) as response:
        assert await response.read()
    await asyncio.wait_for(cos.request_log.settled(), LIMIT)
    (seen,) = cos.request_log.requests
    assert seen.client_left
    assert seen.bytes_sent < 30_000_000


async def test_a_probe_is_content_with_any_answer(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    await origin.probe(cos.url + "/")
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError")))
    await origin.probe(presign())
    with pytest.raises(OriginUnavailable):
        await origin.probe("http://127.0.0.1:1/")


async def test_a_probe_has_a_limit(open_one: OpenOrigin, presign: Presign, cos: CosEmulator) -> None:
    origin = await open_one(timeout=0.2)
    cos.faults.add(Fault(action=Hang()))
    with pytest.raises(OriginUnavailable):
        await origin.probe(presign())


async def test_a_diagnosis_has_status_and_code(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    for url, expected in (
        (presign(), (206, None)),
        (presign("nothing.png"), (404, "NoSuchKey")),
        (presign().replace("q-signature=", "q-signature=0"), (403, "SignatureDoesNotMatch")),
    ):
        answer = await origin.diagnose(url)
        assert (answer.status, answer.code) == expected
        assert answer.date is not None
        assert abs(answer.date - time.time()) < 5
    with pytest.raises(OriginUnavailable):
        await origin.diagnose("http://127.0.0.1:1/")


async def test_client_requests_leave_connections_for_revalidations_and_probes(
    presign: Presign, metrics: Metrics, cos: CosEmulator
) -> None:
    """To wait for a place would pass for a failure of COS, and open its breaker."""
    cos.store.put(BUCKET, "large.png", bytes(5_000_000))
    settings = ImageProxySettings.model_validate({"timeout": 2, "retry_count": 0})
    async with open_origin(settings, max_connections=10, metrics=metrics) as origin:
        held = [await origin.fetch(presign("large.png")) for _ in range(10 + MOST_UNATTENDED)]
        assert await fetch(origin, presign()) == (200, DATA)
        for response in held:
            response.close()


async def test_the_first_byte_comes_in_time_retries_included(open_one: OpenOrigin) -> None:
    origin = await open_one(timeout=6)
    connections = 0

    async def late_and_lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        if connections == 1:
            with suppress(TimeoutError):  # the origin fails after five seconds, in which the client waits
                async with asyncio.timeout(5):
                    await reader.read()
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(late_and_lost, "127.0.0.1", 0) as server:
        began = time.monotonic()
        with pytest.raises(OriginTimeout):
            await fetch(origin, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png")
        assert 6 <= time.monotonic() - began < 5 + 6, "the retry has what is left of the time"
    assert connections == 2
