"""Failures of COS before the first byte: retried, within limits."""

import asyncio
import time
from typing import Any

from gateway_dev.cos_emulator.faults import Change, Cut, Fault, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.content import SMALL
from tests.waiting import until_answered


async def test_a_short_failure_is_hidden_from_the_client(gateway: RunningGateway, images: Images) -> None:
    actions: tuple[Any, ...] = (
        Refuse(status=500, code="InternalError"),
        Refuse(status=503, code="SlowDown"),
        Refuse(status=503, code="SlowDown", headers={"Retry-After": "0"}),
        Refuse(status=429, code="TooManyRequests", headers={"Retry-After": "0"}),
        Reset(),
        Cut(at=0, reset=True),
    )
    for number, action in enumerate(actions):
        await images.add(f"a{number}", SMALL)
        images.cos.faults.add(Fault(action=action, times=2, key=f"objects/a{number}.png"))
        answer = await gateway.get(f"/i/a{number}")
        assert (answer.status, answer.body) == (200, SMALL), action


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


async def test_a_failing_bucket_is_paused_and_used_again_when_it_recovers(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"retry_count": 0})
    for number in range(20):
        await images.add(f"n{number}", SMALL)
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=10))
    breakers = gateway.service.images.origin._breakers
    breakers.monotonic = lambda: 0.0  # the pause lasts until this test ends it
    statuses = [(await gateway.get(f"/i/n{number}")).status for number in range(20)]
    assert statuses == [502] * 10 + [503] * 10
    refused = await gateway.get("/i/a")
    assert (refused.json()["code"], refused.headers["Retry-After"]) == ("origin_paused", "2")
    assert len(cos.request_log.requests) == 10
    breakers.monotonic = time.monotonic
    await until_answered(gateway, "/i/a", 200)


async def test_a_row_that_changes_with_every_try_ends_in_an_error(start_gateway: StartGateway, images: Images) -> None:
    """Each renewal finds another object; the request ends all the same."""
    gateway = await start_gateway(url_cache={"enabled": False})
    await images.add("a", SMALL, key="first.png")
    moves = iter(range(100))

    def move(_bucket: str, _key: str) -> None:
        key = f"moved-{next(moves)}.png"
        images.cos.store.put(BUCKET, key, SMALL)
        images.table.put([ImageRow("a", None, key, public=True)])

    images.cos.faults.add(Fault(action=Change(run=move), times=None))
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
