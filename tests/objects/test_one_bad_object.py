"""One object that COS never returns, in a bucket without other failures."""

import time
from typing import Any

import pytest

from gateway_dev.cos_emulator.faults import Cut, Fault, Headers, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until, until_answered

BAD = "objects/bad*.png"
SERVER_ERROR = Refuse(status=500, code="InternalError")


async def test_an_object_that_keeps_failing_is_not_requested_for_seconds(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("bad")
    cos.faults.add(Fault(action=SERVER_ERROR, key=BAD, times=None))
    began = time.monotonic()
    for _ in range(50):
        answer = await gateway.get("/i/bad")
        assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
    most = 2 + int(time.monotonic() - began)
    assert len(cos.request_log.of("objects/bad.png")) <= most * 4, "two requests of four tries each, and one a second"
    cos.faults.clear()
    await until_answered(gateway, "/i/bad", 200)


@pytest.mark.parametrize(
    "refusal",
    [Refuse(status=404, code="NoSuchKey"), Refuse(status=400, code="ImageTooLarge"), SERVER_ERROR],
    ids=["gone", "too-large", "failing"],
)
async def test_a_change_of_the_row_discards_the_failure_at_once(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, refusal: Refuse
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0, "memory_cache": {"max_bytes": 0}})
    await images.add("cat", b"bytes")

    async def is_remembered() -> bool:
        """Some failures are remembered for a second only, in which a busy machine may not come to the next request."""
        cos.faults.add(Fault(action=refusal, times=None))
        for _ in range(3):
            assert (await gateway.get("/i/cat")).status != 200
        cos.faults.clear()
        return (await gateway.get("/i/cat")).status != 200

    await until(is_remembered)
    gateway.forget("cat")
    assert (await gateway.get("/i/cat")).body == b"bytes"


async def test_a_failure_is_of_one_object_and_one_rendition(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles={"small": "imageMogr2/thumbnail/10x10"})
    await images.add("cat", b"bytes")
    images.cos.faults.add(Fault(action=Refuse(status=451, code="DomainAuditFailed")))
    assert (await gateway.get("/i/cat?style=small")).status == 451
    assert (await gateway.get("/i/cat?style=small")).status == 451
    assert (await gateway.get("/i/cat")).body == b"bytes"
    assert len(images.cos.request_log.requests) == 2


async def test_a_body_that_is_always_lost_is_a_failure_too(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    await images.add("bad", bytes(50_000))
    images.cos.faults.add(Fault(action=Cut(at=20_000), key=BAD, times=None))
    began = time.monotonic()
    for _ in range(20):
        assert (await gateway.get("/i/bad")).status == 502
    assert 2 <= len(images.cos.request_log.requests) <= 2 + int(time.monotonic() - began)


@pytest.mark.parametrize("rest", [SERVER_ERROR, Headers(remove=["Content-Range"])], ids=["failing", "no-range"])
async def test_a_body_whose_rest_cos_never_sends_is_a_failure_too(
    gateway: RunningGateway, images: Images, cos: CosEmulator, rest: Any
) -> None:
    await images.add("bad", bytes(50_000))

    async def is_held() -> bool:
        cos.faults.clear()
        cos.faults.add(Fault(action=Cut(at=20_000)))
        cos.faults.add(Fault(action=rest, skip=1, times=None))
        asked = len(cos.request_log.requests)
        assert (await gateway.get("/i/bad")).status == 502
        return len(cos.request_log.requests) == asked

    await until(is_held)
