"""Failures of COS before the first byte: retried, within limits."""

import asyncio
from typing import Any

import pytest

from gateway_dev.cos_emulator.faults import Change, Cut, Fault, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.content import SMALL
from tests.waiting import until_answered


@pytest.mark.parametrize(
    "action",
    [
        Refuse(status=500, code="InternalError"),
        Refuse(status=503, code="SlowDown"),
        Refuse(status=503, code="SlowDown", headers={"Retry-After": "0"}),
        Refuse(status=429, code="TooManyRequests", headers={"Retry-After": "0"}),
        Reset(),
        Cut(at=0, reset=True),
    ],
    ids=["500", "503", "503-retry-after", "429", "reset", "cut"],
)
async def test_a_short_failure_is_hidden_from_the_client(
    gateway: RunningGateway, images: Images, cos: CosEmulator, action: Any
) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=action, times=2))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.body) == (200, SMALL)


async def test_a_short_retry_after_is_waited_for_and_a_long_one_passed_on(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(headers={"Retry-After": "3"}), times=None))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3")
    assert len(cos.request_log.requests) == 1
    cos.faults.clear()
    cos.faults.add(Fault(action=Refuse(headers={"Retry-After": "1"})))
    started = asyncio.get_running_loop().time()
    assert (await gateway.get("/i/a")).status == 200
    assert asyncio.get_running_loop().time() - started >= 1


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (429, "TooManyRequests")])
async def test_too_many_requests_are_one_outcome_with_cos_s_code_also_for_head(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, status: int, code: str
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=status, code=code, headers={"Retry-After": "7"}), times=None))
    for method, label in (("GET", code), ("HEAD", "SlowDown")):
        counted = gateway.sample("origin_errors_total", bucket=BUCKET, code=label)
        answer = await gateway.request(method, "/i/a")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        assert gateway.sample("origin_errors_total", bucket=BUCKET, code=label) == counted + 1
    assert (await gateway.get("/i/a")).json()["code"] == "origin_throttled"


async def test_a_body_that_is_lost_has_a_code_of_its_own(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway()
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Cut(at=1), times=None))
    assert (await gateway.get("/i/a")).status == 502
    assert gateway.sample("origin_errors_total", bucket=BUCKET, code="body_lost") == 1


async def test_a_failing_bucket_is_paused_and_used_again_when_it_recovers(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
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
    assert len(cos.request_log.requests) == 10
    await until_answered(gateway, "/i/a", 200)


async def test_retries_are_limited_to_a_share_of_the_requests(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """An origin in trouble does not get four times the load: 20 retries to spend, then a fifth of the requests."""
    gateway = await start_gateway()
    await images.add("ok", SMALL)
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), key="*a.png", times=None))
    for _ in range(40):
        await gateway.get("/i/a")
        cos.request_log.clear()
        await gateway.get("/i/ok", headers={"Range": "bytes=0-1"})
    assert gateway.sample("origin_retries_total") <= 20 + 0.2 * 80


async def test_a_row_that_changes_with_every_try_ends_in_an_error(
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
