"""How long a cache that is not purged sends the old image after a change: the table in ``docs/delivery.md``."""

import time

import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.fronts.conftest import CACHES, Front, running_front
from tests.waiting import until_answered, until_listening_to_changes

_CLOCK = 1  # HTTP counts whole seconds
MAX_AGE, REVALIDATE, IF_ERROR = 2, 1, 3
AGES = {"max_age": 60, "shared_max_age": MAX_AGE, "stale_while_revalidate": REVALIDATE, "stale_if_error": IF_ERROR}


async def until_gone(front: Front, *, end: float) -> int:
    """Return the status that takes the place of the old image. No request that begins after ``end`` may get it."""
    while True:
        begun = time.time()
        answered = await front.get("/i/a")
        if answered.status != 200:
            return answered.status
        assert begun < end, f"the old image {begun - end:.1f} s too late"


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with short times, and a public image."""
    gateway = await start_gateway(image_proxy=AGES)
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a")
    return gateway


@pytest.mark.parametrize("front_name", CACHES)
async def test_a_cache_sends_no_image_for_longer_than_promised(
    front: Front, gateway: RunningGateway, images: Images
) -> None:
    assert (await front.get("/i/a")).status == 200
    await images.execute("UPDATE images SET is_public = false")
    await until_answered(gateway, "/i/a", 404)
    assert await until_gone(front, end=time.time() + MAX_AGE + REVALIDATE + _CLOCK) == 404


@pytest.mark.parametrize("front_name", CACHES)
async def test_nor_while_no_gateway_can_be_reached(front: Front, gateway: RunningGateway) -> None:
    assert (await front.get("/i/a")).status == 200
    await gateway.close()
    assert await until_gone(front, end=time.time() + MAX_AGE + max(REVALIDATE, IF_ERROR) + _CLOCK) >= 502


@pytest.mark.parametrize("front_name", CACHES)
async def test_nor_while_cos_fails_and_a_stale_image_is_sent_more_than_once(
    front_name: str, start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """Varnish would replace it by the error of its background fetch; Apache would send it for any time."""
    ages = {"max_age": 1, "stale_while_revalidate": 3, "stale_if_error": 3}
    gateway = await start_gateway(image_proxy={**ages, "memory_cache": {"max_bytes": 0, "ttl": 0}, "retry_count": 0})
    await images.add("a")
    async with running_front(front_name, gateway) as front:
        asked = time.time()
        assert (await front.get("/i/a")).status == 200
        cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
        assert await until_gone(front, end=time.time() + 1 + 3 + _CLOCK) == 502
        assert front_name != "varnish" or time.time() > asked + 1 + 3 - _CLOCK


@pytest.mark.parametrize("front_name", CACHES)
async def test_a_cache_keeps_images_at_all(front_name: str, start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway()
    await images.add("a")
    async with running_front(front_name, gateway) as front:
        for _ in range(5):
            assert (await front.get("/i/a")).status == 200
    assert gateway.sample("requests_total", route="short", delivery="stream", status="200") == 1
