"""Refusals and failures of COS: what each means, and which are tried again."""

import asyncio

import pytest

from gateway.errors import (
    ImageArchived,
    ImageBlocked,
    ImageNotFound,
    ImageTooLarge,
    OriginMisconfigured,
    OriginRejected,
    OriginSuspended,
    OriginThrottled,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import CosError, ObjectReplaced, PresignedUrlRefused, failure_of
from gateway.origin.retry import retry_after
from gateway.service.metrics import Metrics
from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.origin.conftest import Presign
from tests.origin.test_client import cat, counted, fetch

__all__ = ["cat"]


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
        ("If-Match", 412, ObjectReplaced),
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


@pytest.mark.parametrize("zone", [" GMT", " -0000", " +0000", ""])
def test_a_wait_does_not_depend_on_the_local_time_zone(far_from_greenwich: None, zone: str) -> None:
    assert retry_after(f"Thu, 01 Jan 1970 00:02:00{zone}", now=lambda: 100.0) == 20


@pytest.mark.parametrize(("headers", "wait"), [({"Retry-After": "17"}, 17), ({}, 0)])
def test_only_a_retry_after_prolongs_the_pause(headers: dict[str, str], wait: float) -> None:
    assert failure_of(CosError(503), headers, "throttled").wait == wait
