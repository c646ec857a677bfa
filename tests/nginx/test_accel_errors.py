"""``delivery: accel``: what goes wrong after the gateway has said yes is no answer that a cache keeps as the image."""

import aiohttp
import pytest

from gateway.cos_emulator.faults import Fault, Redirect, Refuse
from gateway.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images
from tests.nginx.conftest import Nginx, StartNginx, accel
from tests.nginx.scripted import answer, handing_over, scripted
from tests.nginx.test_accel import SMALL


def fields(answer: Answer, name: str) -> list[str]:
    """Every line of that name."""
    return [value for found, value in answer.headers.items() if found.lower() == name.lower()]


@pytest.mark.parametrize("status", [400, 404, 410, 415, 424, 429, 451, 500, 514, 520, 567])
async def test_no_error_of_cos_is_passed_on(nginx: Nginx, images: Images, cos: CosEmulator, status: int) -> None:
    """The gateway's own answer comes instead, and nothing that was meant for the image comes with it."""
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=status, code="Odd"), method="GET", times=None))
    answer = await nginx.get("/i/a?download=a.png")
    assert answer.status in (404, 451, 502, 503, 504)
    assert answer.json()["status"] == "error"
    assert fields(answer, "Cache-Control") == ["no-store"]
    assert fields(answer, "Content-Disposition") == []
    assert fields(answer, "Content-Type") == ["application/json"]


async def test_a_408_of_cos_ends_the_connection(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    """nginx takes it for its own word to a client that was too slow."""
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=408, code="RequestTimeout"), method="GET", times=None))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await nginx.get("/i/a")
    cos.faults.clear()
    assert (await nginx.get("/i/a")).body == SMALL


async def test_a_redirect_of_cos_is_not_followed_nor_passed_on(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Redirect(location="http://elsewhere.example/"), method="GET", times=None))
    answer = await nginx.get("/i/a")
    assert (answer.status, fields(answer, "Location")) == (502, [])
    assert fields(answer, "Cache-Control") == ["no-store"]


async def test_an_image_has_one_cache_control_however_it_comes(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL, headers={"Cache-Control": "max-age=1"})
    public = "public, max-age=3600, stale-while-revalidate=300, stale-if-error=86400"
    for headers in ({}, {}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        assert fields(await nginx.get("/i/a", **headers), "Cache-Control") == [public]
    assert fields(await nginx.request("HEAD", "/i/a"), "Cache-Control") == [public]
    await images.add("b", SMALL)
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), method="GET"))
    assert fields(await nginx.get("/i/b"), "Cache-Control") == [public]  # streamed


async def test_a_gateway_that_goes_away_meanwhile_is_told_of_and_not_kept(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str | None:
        return None if "X-Accel-Failed" in head else handing_over("http://cos.example/a", '"1"', 5)

    async with scripted(gateway) as deciding, scripted(lambda _: answer(503, "<Error/>")) as failing:
        nginx = await start_nginx(accel(f"127.0.0.1:{deciding}", failing))
        answered = await nginx.get("/i/a")
    assert (answered.status, answered.json()["code"]) == (503, "gateway_unreachable")
    assert fields(answered, "Cache-Control") == ["no-store"]
    assert answered.headers["Retry-After"] == "2"


async def test_no_gateway_at_all_is_told_of_as_every_other_error(start_nginx: StartNginx) -> None:
    async with scripted(lambda _: None) as silent:
        nginx = await start_nginx(accel(f"127.0.0.1:{silent}", silent))
        answered = await nginx.get("/i/a")
    assert (answered.status, answered.json()["code"]) == (503, "gateway_unreachable")
    assert answered.headers["Content-Type"] == "application/json"
    assert answered.json()["request_id"] == answered.headers["X-Request-Id"]


async def test_a_304_that_nobody_asked_for_is_none(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str:
        return answer(502, "no") if "X-Accel-Failed" in head else handing_over("http://cos.example/a", '"1"', 5)

    async with scripted(gateway) as deciding, scripted(lambda _: answer(304)) as confused:
        nginx = await start_nginx(accel(f"127.0.0.1:{deciding}", confused))
        assert (await nginx.get("/i/a")).status == 502
