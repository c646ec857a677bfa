"""COS's error codes reach the log, a metric and the client's status, and only some correct the clock."""

import asyncio
import io
import json
import time
from email.utils import formatdate

import pytest

from gateway.origin.cos_errors import parse_error
from gateway_dev.cos_emulator.faults import Fault, Headers, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.origin.conftest import OpenOrigin

HOUR = 3600
DATE = "Thu, 01 Jan 1970 00:02:00 GMT"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<?xml version='1.0'?>\n<Error>\n\t<Code>ExpiredToken</Code>\n\t<Message>x</Message>", "ExpiredToken"),
        (b"<Error><Code>a b</Code></Error>", None),
        (b"<Error><Code>" + b"a" * 65 + b"</Code></Error>", None),
        (b"<Error><Code></Code></Error>", None),
        (b"<Code>\xff\xfe</Code>", None),
        (b'{"code": "NoSuchKey"}', None),
        (b"", None),
    ],
)
def test_a_code_is_read_from_any_body(body: bytes, code: str | None) -> None:
    assert parse_error(400, None, body).code == code


@pytest.mark.parametrize(
    ("code", "message", "clock"),
    [
        ("AccessDenied", "Request has expired", 120),
        ("RequestTimeTooSkewed", "whatever", 120),
        ("AccessDenied", "Access Denied.", None),
        ("SignatureDoesNotMatch", "Request has expired", None),
        ("ExpiredToken", "Request has expired", None),
    ],
)
def test_only_an_error_about_time_has_a_clock(code: str, message: str, clock: float | None) -> None:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    assert parse_error(403, DATE, body).clock == clock
    assert parse_error(403, None, body).clock is None


@pytest.mark.parametrize(
    ("status", "code", "ours", "our_code"),
    [
        (400, "ExpiredToken", 503, "credentials_expired"),
        (400, "ImageTooLarge", 422, "image_too_large"),
        (400, "UserCnameInvalid", 502, "origin_misconfigured"),
        (400, "SomethingNew", 502, "origin_rejected"),
        (402, "PaymentRequired", 502, "origin_suspended"),
        (403, "SignatureDoesNotMatch", 502, "origin_refused"),
        (404, "NoSuchKey", 404, "image_not_found"),
        (451, "UnavailableForLegalReasons", 451, "image_blocked"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_cos_s_code_decides_the_status_and_reaches_the_log_and_a_metric(
    access_lines: io.StringIO,
    gateway: RunningGateway,
    images: Images,
    cos: CosEmulator,
    method: str,
    status: int,
    code: str,
    ours: int,
    our_code: str,
) -> None:
    """An error to a HEAD has no body: a GET of the first byte fetches the reason."""
    await images.add("cat")
    cos.faults.add(Fault(action=Refuse(status=status, code=code), times=None))
    answer = await gateway.request(method, "/i/cat")
    assert answer.status == ours
    if method == "GET":
        assert answer.json()["code"] == our_code
        assert code not in answer.body.decode()
    has_code = method == "GET" or status not in {402, 451}  # where the status says it all, a HEAD is enough
    label = code if has_code else "none"
    assert gateway.sample("origin_errors_total", bucket=BUCKET, code=label) >= 1
    assert gateway.sample("origin_bucket_requests_total", bucket=BUCKET) >= 1
    if ours != 422:
        word = f"{status} {code}" if has_code else str(status)
        gateway.flush_request_log()
        line = json.loads(access_lines.getvalue())
        assert (line["level"], line["image"], line["code"]) == ("error" if ours >= 500 else "info", "cat", our_code)
        assert f"COS answered {word}" in line["reason"]
        assert BUCKET in line["reason"]
    assert "q-signature" not in access_lines.getvalue()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("code", "message", "moves"),
    [
        ("AccessDenied", "Request has expired", True),
        ("RequestTimeTooSkewed", "The difference is too large.", True),
        ("AccessDenied", "Access Denied.", False),
        ("SignatureDoesNotMatch", "The Signature you specified is invalid.", False),
    ],
)
async def test_a_refusal_moves_the_clock_if_it_is_about_time_or_of_a_newly_signed_url(
    gateway: RunningGateway, images: Images, cos: CosEmulator, method: str, code: str, message: str, moves: bool
) -> None:
    """The first refusal may be about a URL that was signed long ago."""
    elsewhere = [("Date", formatdate(time.time() + HOUR, usegmt=True))]
    requests = 2 if method == "HEAD" else 1  # COS's error to a HEAD has no code: a GET asks again
    for is_new in (False, True):
        gateway.service.signing.clock.offset = 0
        faults = [
            Fault(action=Refuse(status=403, code=code, message=message), times=requests * (2 if is_new else 1)),
            Fault(action=Headers(remove=["Date"], add=elsewhere), times=None),
        ]
        for fault in faults:
            cos.faults.add(fault)
        await images.add(f"cat-{is_new}")
        await gateway.request(method, f"/i/cat-{is_new}")
        assert (gateway.sample("cos_clock_offset_seconds") != 0) == (moves or is_new)
        cos.faults.clear()


async def test_a_refusal_of_an_expired_token_is_retried(gateway: RunningGateway, images: Images) -> None:
    """The URL may be of before the credentials were renewed."""
    await images.add("cat", b"bytes")
    images.cos.faults.add(Fault(action=Refuse(status=400, code="ExpiredToken")))
    answer = await gateway.get("/i/cat")
    assert (answer.status, answer.body) == (200, b"bytes")


async def test_a_missing_bucket_takes_nothing_out_of_memory(start_gateway: StartGateway, images: Images) -> None:
    """A 404 of the object would: cached bytes are served only for failures that are not the image's own."""
    gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 0}})
    await images.add("cat", b"bytes")
    await gateway.get("/i/cat")
    images.cos.faults.add(Fault(action=Refuse(status=404, code="NoSuchBucket"), times=None))
    for _ in range(2):
        answer = await gateway.get("/i/cat")
        assert (answer.status, answer.body) == (200, b"bytes")
        assert "stale-if-error" in answer.headers["Cache-Status"]


async def test_an_error_without_its_body_has_no_code(open_one: OpenOrigin) -> None:
    origin = await open_one(timeout=60)
    hangs = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n<Error>")
        await hangs.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        began = time.monotonic()
        diagnosis = await origin.diagnose(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png")
        assert (diagnosis.status, diagnosis.error.code) == (404, None)
        assert time.monotonic() - began < 30
        hangs.set()
