"""Failures of COS after the first byte: the body is completed or the connection reset, and bytes are never mixed."""

from typing import Any

import pytest

from gateway_dev.cos_emulator.faults import Change, Cut, Fault, Hang, Headers, Refuse, WrongLength
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.content import KEY, LARGE, add_large, read_interrupted


@pytest.mark.parametrize(
    "action",
    [Cut(at=1_000_000), Cut(at=1_000_000, reset=True), Cut(at=4_999_999), Hang(at=300_000), WrongLength(by=0)],
    ids=["fin", "reset", "last-byte", "stall", "close"],
)
async def test_a_lost_connection_to_cos_is_resumed(start_gateway: StartGateway, images: Images, action: Any) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 5})
    await add_large(images)
    images.cos.faults.add(Fault(action=action))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.body) == (200, LARGE.read(0, LARGE.size))
    seen = images.cos.request_log.of(KEY)
    if len(seen) > 1:
        assert seen[1].headers["if-match"] == answer.headers["ETag"]
        assert seen[1].status == 206
        assert gateway.sample("origin_resumes_total") == 1


async def test_a_transfer_is_resumed_as_long_as_it_makes_progress(gateway: RunningGateway, images: Images) -> None:
    await add_large(images)
    images.cos.faults.add(Fault(action=Cut(at=700_000), times=7))
    assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)


async def test_an_expired_url_is_signed_again_when_resuming(gateway: RunningGateway, images: Images) -> None:
    await add_large(images)
    images.cos.faults.add(Fault(action=Cut(at=1_000_000)))
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), skip=1))
    assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)
    assert len(images.cos.request_log.requests) == 3


@pytest.mark.parametrize(
    "then",
    [
        Change(data=b"y" * 5_000_000),
        Change(run=lambda _bucket, _key: None),
        Refuse(status=404, code="NoSuchKey"),
        Refuse(status=500, code="InternalError"),
        Refuse(status=403, code="AccessDenied"),
        Headers(remove=["Content-Range"]),
    ],
    ids=["changed", "cut-again", "deleted", "failing", "refused", "no-range"],
)
async def test_the_connection_is_reset_when_the_rest_is_unavailable(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, then: Any
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 1})
    await add_large(images)
    cos.faults.add(Fault(action=Cut(at=1_000_000)))
    cos.faults.add(Fault(action=then, times=None, skip=1))
    cos.faults.add(Fault(action=Cut(at=0), times=None))
    received = await read_interrupted(gateway)
    assert received == LARGE.read(0, len(received))
    assert gateway.sample("requests_total", route="short", delivery="stream", status="aborted") == 1
    assert gateway.sample("origin_errors_total", bucket=BUCKET, code="body_lost") == 1
