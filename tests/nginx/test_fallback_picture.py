"""``image_proxy.fallback`` behind nginx: the picture arrives with its status, and no cache keeps it."""

from pathlib import Path

import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.test_accel import SMALL
from tests.nginx.test_accel_errors import fields

PICTURE = Path(__file__).parents[2] / "config" / "fallback.svg"
IMG = {"Sec-Fetch-Dest": "image", "Accept": "image/avif,image/webp,image/*,*/*;q=0.8"}


@pytest.fixture(params=["gateway.conf", "private-cache.conf", "accel.conf"])
async def nginx(
    start_nginx: StartNginx, start_gateway: StartGateway, cos: CosEmulator, request: pytest.FixtureRequest
) -> Nginx:
    """nginx with its cache on, in front of a gateway with the picture."""
    delivery = "accel" if request.param == "accel.conf" else "stream"
    gateway: RunningGateway = await start_gateway(
        image_proxy={"delivery": delivery, "fallback": {"path": str(PICTURE)}, "retry_count": 0},
        server={"reuse_port": False},
    )
    return await start_nginx(in_front_of(gateway.address, request.param, cos.port))


async def assert_picture(nginx: Nginx, path: str, status: int, code: str) -> None:
    """An ``<img>`` gets the picture with ``status``, once each field, and a program the JSON."""
    answer = await nginx.get(path, **IMG)
    assert (answer.status, answer.body) == (status, PICTURE.read_bytes())
    assert fields(answer, "Content-Type") == ["image/svg+xml"]
    assert fields(answer, "Cache-Control") == ["no-store"]
    assert fields(answer, "X-Error-Code") == [code]
    assert fields(answer, "X-Content-Type-Options") == ["nosniff"]
    assert len(fields(answer, "Content-Security-Policy")) == 1
    assert fields(answer, "Content-Disposition") == []
    assert fields(answer, "Content-Length") == [str(PICTURE.stat().st_size)]
    program = await nginx.get(path)
    assert (program.status, program.json()["code"]) == (status, code)
    assert fields(program, "X-Error-Code") == []
    head = await nginx.request("HEAD", path, **IMG)
    assert (head.status, head.body, fields(head, "X-Error-Code")) == (status, b"", [code])


async def test_the_picture_of_a_missing_image_is_not_kept(nginx: Nginx, images: Images) -> None:
    await assert_picture(nginx, "/i/a", 404, "image_not_found")
    await images.add("b", SMALL)
    assert (await nginx.get("/i/b", **IMG)).body == SMALL
    assert (await nginx.get("/i/b")).body == SMALL


async def test_the_picture_of_a_failure_of_cos_is_not_kept(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    """With accel, nginx fails to get the object and asks the gateway again, with the client's own headers."""
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    await assert_picture(nginx, "/i/a?download=a.png", 502, "origin_unavailable")
    cos.faults.clear()
    await images.add("c", SMALL)
    assert (await nginx.get("/i/c", **IMG)).body == SMALL


async def test_an_object_that_fails_for_nginx_alone_becomes_the_picture(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    images.cos.faults.add(Fault(action=Refuse(status=404, code="NoSuchKey"), method="GET", times=None))
    await assert_picture(nginx, "/i/a", 404, "image_not_found")
