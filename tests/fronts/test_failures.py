"""Errors are not kept, and a gateway that restarts is used again."""

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, StartGateway
from tests.fronts.conftest import running_front
from tests.fronts.front import Front
from tests.ports import reserved_port
from tests.waiting import until

BODY = b"bytes of an image" * 1000


async def test_no_error_is_kept_while_cos_is_away(front: Front, images: Images, cos: CosEmulator) -> None:
    await images.add("a", BODY)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    for _ in range(2):
        answer = await front.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
        assert answer.headers["Cache-Control"] == "no-store"
    missing = await front.get("/i/not-there-yet")
    assert (missing.status, missing.json()["code"]) == (404, "image_not_found")
    cos.faults.clear()
    await images.add("not-there-yet", BODY)

    async def are_there() -> bool:
        return all([(await front.get(path)).body == BODY for path in ("/i/a", "/i/not-there-yet")])

    await until(are_there, what="both images")


async def test_a_gateway_that_restarts_is_used_again(
    front_name: str, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("a", BODY)
    with reserved_port() as port:
        gateway = await start_gateway(server={"port": port})
        async with running_front(front_name, gateway) as front:
            assert (await front.get("/api/v1/images/a/url")).status == 200
            await gateway.close()
            assert (await front.get("/api/v1/images/a/url")).status >= 500
            await start_gateway(server={"port": port})

            async def is_back() -> bool:
                return (await front.get("/api/v1/images/a/url")).status == 200

            await until(is_back, what="the gateway")
