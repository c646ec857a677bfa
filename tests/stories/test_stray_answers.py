"""An answer that is not of the object as it is known may be that of another request: COS is asked once more."""

import pytest

from gateway_dev.cos_emulator.faults import Change, Fault
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway

KEY = "objects/a.png"
OWN, OTHERS = b"its own bytes", b"bytes of a private image"


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that keeps no bytes, and knows the version of the image."""
    gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": 0}})
    await images.add("a", OWN)
    assert (await gateway.get("/i/a")).body == OWN
    return gateway


def answers(cos: CosEmulator, *bodies: bytes) -> None:
    """Let COS answer the next requests with these bytes, and all later ones with the last of them."""
    for number, body in enumerate(bodies):
        cos.faults.add(Fault(action=Change(data=body), skip=number))


@pytest.mark.parametrize(
    ("headers", "own"), [({}, OWN), ({"Range": "bytes=0-2"}, OWN[:3])], ids=["the whole", "a part"]
)
async def test_the_bytes_of_another_object_reach_no_client(
    gateway: RunningGateway, cos: CosEmulator, headers: dict[str, str], own: bytes
) -> None:
    answers(cos, OTHERS, OWN)
    before = len(cos.request_log.of(KEY))
    assert (await gateway.get("/i/a", headers=headers)).body == own
    assert len(cos.request_log.of(KEY)) == before + 2


async def test_a_client_whose_copy_is_current_hears_so(
    start_gateway: StartGateway, gateway: RunningGateway, cos: CosEmulator
) -> None:
    etag = (await gateway.get("/i/a")).headers["ETag"]
    always = await start_gateway(image_proxy={"memory_cache": {"ttl": 0}})
    assert (await always.get("/i/a")).body == OWN
    answers(cos, OTHERS, OWN)
    answer = await always.get("/i/a", headers={"If-None-Match": etag})
    assert (answer.status, "fwd-status=304" in answer.headers["Cache-Status"]) == (304, True)


async def test_a_version_that_cos_sends_twice_is_the_new_one(gateway: RunningGateway, cos: CosEmulator) -> None:
    """The application has written over the object."""
    cos.store.put(BUCKET, KEY, OTHERS, content_type="image/png")
    before = len(cos.request_log.of(KEY))
    assert [(await gateway.get("/i/a")).body for _ in range(3)] == [OTHERS] * 3
    assert len(cos.request_log.of(KEY)) == before + 4, "the first answer was asked for again"


async def test_three_versions_one_after_another_are_an_error(gateway: RunningGateway, cos: CosEmulator) -> None:
    answers(cos, OTHERS, b"bytes of a third one")
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
