"""How long a cache that is not purged sends the old image after a change: the table in ``docs/delivery.md``."""

import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.documented_ages import BOUND, CLOCK, gone_within_bound
from tests.fronts.conftest import CACHES, running_front
from tests.fronts.front import Front
from tests.valve import Valve
from tests.waiting import until_answered, until_listening_to_changes


class Promise(NamedTuple):
    """Settings of ``image_proxy``, and for how long an old image may be sent with them, in seconds."""

    ages: dict[str, Any]
    bound: float
    while_away: float


SHORT = Promise(
    {"max_age": 60, "shared_max_age": 2, "stale_while_revalidate": 1, "stale_if_error": 3},
    2 + 1 + CLOCK,
    2 + 3 + CLOCK,
)
WITHIN_A_MINUTE = Promise(gone_within_bound(), BOUND, BOUND)


async def until_gone(front: Front, *, end: float) -> int:
    """Return the status that takes the place of the old image. No request that begins after ``end`` may get it."""
    while True:
        begun = time.time()
        answered = await front.get("/i/a")
        if answered.status != 200:
            return answered.status
        assert begun < end, f"the old image {begun - end:.1f} s too late"


@pytest.fixture(params=[SHORT, WITHIN_A_MINUTE], ids=["short times", "gone within a minute"])
def promise(request: pytest.FixtureRequest) -> Promise:
    """Settings, and the bounds that the page promises for them."""
    promise: Promise = request.param
    return promise


@pytest.fixture
async def gateway(promise: Promise, start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with these settings, and a public image."""
    gateway = await start_gateway(image_proxy=promise.ages)
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("a")
    return gateway


@pytest.fixture
async def front(front_name: str, promise: Promise, gateway: RunningGateway) -> AsyncIterator[Front]:
    """A proxy in front of that gateway. Squid's recipe says what belongs to ``max_stale``."""
    stale_if_error = promise.ages["stale_if_error"]
    changes = {"max_stale 86400 ": f"max_stale {stale_if_error} "} if front_name == "squid" else None
    async with running_front(front_name, gateway, changes) as front:
        yield front


@pytest.mark.parametrize("front_name", CACHES)
async def test_a_cache_sends_no_image_for_longer_than_promised(
    front: Front, promise: Promise, gateway: RunningGateway, images: Images
) -> None:
    assert (await front.get("/i/a")).status == 200
    await images.execute("UPDATE images SET is_public = false")
    await until_answered(gateway, "/i/a", 404)
    assert await until_gone(front, end=time.time() + promise.bound) == 404


@pytest.mark.parametrize("front_name", CACHES)
async def test_nor_while_no_gateway_can_be_reached(front: Front, promise: Promise, gateway: RunningGateway) -> None:
    assert (await front.get("/i/a")).status == 200
    await gateway.close()
    assert await until_gone(front, end=time.time() + promise.while_away) >= 502


@pytest.mark.parametrize("front_name", CACHES)
async def test_nor_while_no_gateway_can_read_rows_which_squid_takes_for_no_gateway(
    front_name: str, start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    """RFC 5861 lets a cache send a stale copy in place of a 503 for ``stale-if-error``; only Squid does."""
    ages = {"max_age": 1, "stale_while_revalidate": 0, "stale_if_error": 6}
    async with Valve.before(int(parse_dsn(postgres_dsn)["port"])) as valve:
        rows = make_dsn(postgres_dsn, host="127.0.0.1", port=valve.port)
        gateway = await start_gateway(
            image_proxy=ages, postgres={"dsn": rows, "listen_dsn": postgres_dsn, "timeout": 0.5}
        )
        await until_listening_to_changes(gateway.ports.admin)
        await images.add("a")
        await until_answered(gateway, "/i/a", 200)
        limit = {"max_stale 86400 ": "max_stale 6 "} if front_name == "squid" else None
        async with running_front(front_name, gateway, limit) as front:
            assert (await front.get("/i/a")).status == 200
            valve.close()
            await images.execute("UPDATE images SET is_public = false")
            changed = time.time()
            await until_answered(gateway, "/i/a", 503)
            promised = 1 + 6 if front_name == "squid" else 1 + 0
            assert await until_gone(front, end=changed + promised + CLOCK) == 503
            assert front_name != "squid" or time.time() > changed + 1 + CLOCK


# After an error of COS, ``gateway.conf`` has no limit: the gateway that answers has read the row.
@pytest.mark.parametrize("front_name", [name for name in CACHES if name != "gateway.conf"])
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
        assert await until_gone(front, end=time.time() + 1 + 3 + CLOCK) == 502
        assert front_name != "varnish" or time.time() > asked + 1 + 3 - CLOCK


@pytest.mark.parametrize("front_name", CACHES)
async def test_a_cache_keeps_images_at_all(front_name: str, start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway()
    await images.add("a")
    async with running_front(front_name, gateway) as front:
        for _ in range(5):
            assert (await front.get("/i/a")).status == 200
    assert gateway.sample("requests_total", route="short", delivery="stream", status="200") == 1
