"""Requests of the origin client, the outcome of each answer, and retries."""

import asyncio
import gzip
import time
from collections.abc import Mapping
from contextlib import closing

import pytest

from gateway.errors import (
    OriginUnavailable,
)
from gateway.origin.client import MOST_UNATTENDED, OriginClient, open_origin
from gateway.service.metrics import Metrics
from gateway.settings import ImageProxySettings, Live
from gateway_dev.cos_emulator.faults import Fault, Headers, Redirect
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET
from tests.limits import LIMIT
from tests.origin.conftest import Presign, read_all
from tests.origin.scripted import head, scripted

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
        return response.head.status, await read_all(response)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of a metric."""
    return metrics.registry.get_sample_value(f"image_gateway_{name}", labels) or 0.0


async def test_an_object_is_opened(origin: OriginClient, presign: Presign, metrics: Metrics) -> None:
    with closing(await origin.fetch(presign())) as response:
        headers = response.head.metadata
        body = await read_all(response)
    assert (response.head.status, body) == (200, DATA)
    assert (headers.content_type, headers.size, headers.etag) == ("image/png", len(DATA), '"cat-1"')
    assert headers.last_modified == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert counted(metrics, "origin_requests_total", status="200") == 1


async def test_a_range_a_condition_and_a_head_are_passed_on(origin: OriginClient, presign: Presign) -> None:
    assert await fetch(origin, presign(), headers={"Range": "bytes=10-19"}) == (206, DATA[10:20])
    assert await fetch(origin, presign(), headers={"If-None-Match": '"cat-1"'}) == (304, b"")
    assert await fetch(origin, presign(method="HEAD"), method="HEAD") == (200, b"")


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
async def test_a_presigned_url_is_sent_byte_for_byte(
    origin: OriginClient, presign: Presign, cos: CosEmulator, key: str
) -> None:
    cos.store.put(BUCKET, key.removeprefix("/"), key.encode(), content_type="image/png")
    assert await fetch(origin, presign(key)) == (200, key.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_not_a_byte_of_a_url_is_changed(origin: OriginClient, method: str) -> None:
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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    origin: OriginClient, presign: Presign, cos: CosEmulator, metrics: Metrics, status: int
) -> None:
    cos.store.put(BUCKET, "inner-secret", b"of another service")
    elsewhere = Redirect.model_validate({"location": presign("inner-secret"), "status": status})
    cos.faults.add(Fault(action=elsewhere, key="cat.png", times=None))
    with pytest.raises(OriginUnavailable):
        await fetch(origin, presign())
    assert (await origin.diagnose(presign())).status == status
    assert [seen.key for seen in cos.request_log.requests] == ["cat.png"] * 2
    assert counted(metrics, "origin_requests_total", status=str(status)) == 1


async def test_requests_to_cos_use_no_proxy_of_the_environment(
    origin: OriginClient, presign: Presign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert await fetch(origin, presign()) == (200, DATA)


async def test_no_compression_is_requested_or_decoded(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    squeezed = gzip.compress(DATA)
    cos.store.put(BUCKET, "cat.svgz", squeezed, headers={"Content-Encoding": "gzip"})
    with closing(await origin.fetch(presign("cat.svgz"))) as response:
        assert await read_all(response) == squeezed
        assert (response.head.metadata.content_encoding, response.head.length) == ("gzip", len(squeezed))
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


async def test_connections_are_used_again(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    for _ in range(60):
        assert await fetch(origin, presign()) == (200, DATA)
    assert cos.request_log.connections == 1


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


async def test_a_diagnosis_has_status_and_code(origin: OriginClient, presign: Presign, cos: CosEmulator) -> None:
    for url, expected in (
        (presign(), (206, None)),
        (presign("nothing.png"), (404, "NoSuchKey")),
        (presign().replace("q-signature=", "q-signature=0"), (403, "SignatureDoesNotMatch")),
    ):
        answer = await origin.diagnose(url)
        assert (answer.status, answer.error.code) == expected
        assert answer.error.date is not None
        assert abs(answer.error.date - time.time()) < 5
    with pytest.raises(OriginUnavailable):
        await origin.diagnose("http://127.0.0.1:1/")


async def test_client_requests_leave_connections_for_revalidations_and_probes(
    presign: Presign, metrics: Metrics, cos: CosEmulator
) -> None:
    """To wait for a place would pass for a failure of COS, and open its breaker."""
    cos.store.put(BUCKET, "large.png", bytes(5_000_000))
    settings = ImageProxySettings.model_validate({"timeout": LIMIT, "retry_count": 0})
    async with open_origin(Live(settings), max_connections=10, metrics=metrics.origin) as origin:
        held = [await origin.fetch(presign("large.png")) for _ in range(10 + MOST_UNATTENDED)]
        assert await fetch(origin, presign()) == (200, DATA)
        for response in held:
            response.close()


async def test_neither_an_address_nor_a_field_adds_a_line_to_the_request(
    origin: OriginClient, presign: Presign, cos: CosEmulator
) -> None:
    """An entity tag comes from COS, and a condition from a client: parsers pass some bytes on."""
    for url, value in (
        (presign() + "\r\nX-Added: 1", '"v1"'),
        (presign() + " HTTP/1.0", '"v1"'),
        (presign(), "a\r\nb: c"),
    ):
        with pytest.raises(ValueError, match="control characters"):
            await origin.fetch(url, headers={"If-None-Match": value})
    assert not cos.request_log.requests


async def test_answers_that_come_before_the_final_one_are_skipped(origin: OriginClient) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with scripted(early + head("200 OK", "Content-Length: 4") + b"data") as port:
        assert await fetch(origin, f"http://127.0.0.1:{port}/cat.png") == (200, b"data")


async def test_an_answer_that_is_no_http_is_a_failure_of_cos(origin: OriginClient) -> None:
    async with scripted(b"SSH-2.0-OpenSSH\r\n\r\n") as port:
        with pytest.raises(OriginUnavailable):
            await origin.fetch(f"http://127.0.0.1:{port}/cat.png")
