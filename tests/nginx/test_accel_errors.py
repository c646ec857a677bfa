"""``delivery: accel``: a failure after the authorization becomes an error that no cache stores as the image."""

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Fault, Redirect, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.scripted import accel_redirect, answer, scripted
from tests.nginx.test_accel import SMALL


def fields(answer: Answer, name: str) -> list[str]:
    """Return the value of every header field of that name."""
    return [value for field, value in answer.headers.items() if field.lower() == name.lower()]


async def test_no_error_of_cos_is_passed_on(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    """The gateway's own error replaces it, without the headers that were meant for the image."""
    statuses = {400: 502, 404: 404, 410: 502, 415: 502, 424: 502, 429: 503, 451: 451, 500: 502, 514: 502, 567: 502}
    for status, own in statuses.items():
        await images.add(f"a{status}", SMALL)
        refuse = Refuse(status=status, code="Odd")
        cos.faults.add(Fault(action=refuse, method="GET", times=None, key=f"objects/a{status}.png"))
        answer = await nginx.get(f"/i/a{status}?download=a.png")
        assert (answer.status, answer.json()["status"]) == (own, "error"), status
        assert fields(answer, "Cache-Control") == ["no-store"]
        assert fields(answer, "Content-Disposition") == []
        assert fields(answer, "Content-Type") == ["application/json"]


async def test_a_408_of_cos_ends_the_connection(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    """nginx treats the status like its own 408 for slow clients, and closes the connection."""
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Refuse(status=408, code="RequestTimeout"), method="GET", times=None))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await nginx.get("/i/a")
    cos.faults.clear()
    assert (await nginx.get("/i/a")).body == SMALL


async def test_a_redirect_of_cos_is_neither_followed_nor_passed_on(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL)
    images.cos.faults.add(Fault(action=Redirect(location="http://elsewhere.example/"), method="GET", times=None))
    answer = await nginx.get("/i/a")
    assert (answer.status, fields(answer, "Location")) == (502, [])
    assert fields(answer, "Cache-Control") == ["no-store"]


async def test_an_image_has_one_cache_control_in_every_kind_of_response(nginx: Nginx, images: Images) -> None:
    await images.add("a", SMALL, headers={"Cache-Control": "max-age=1"})
    public = "public, max-age=3600, stale-while-revalidate=300, stale-if-error=86400"
    for headers in ({}, {}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
        assert fields(await nginx.get("/i/a", **headers), "Cache-Control") == [public]
    assert fields(await nginx.request("HEAD", "/i/a"), "Cache-Control") == [public]
    await images.add("b", SMALL)
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), method="GET"))
    assert fields(await nginx.get("/i/b"), "Cache-Control") == [public]  # streamed


async def test_a_gateway_that_fails_after_a_failure_of_cos_is_reported_and_not_cached(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str | None:
        return None if "X-Accel-Failed" in head else accel_redirect("http://cos.example/a", '"1"', 5)

    async with scripted(gateway) as gateway_port, scripted(lambda _: answer(503, "<Error/>")) as failing_cos:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{gateway_port}", "accel.conf", failing_cos))
        response = await nginx.get("/i/a")
    assert (response.status, response.json()["code"]) == (503, "gateway_unreachable")
    assert fields(response, "Cache-Control") == ["no-store"]
    assert response.headers["Retry-After"] == "2"


async def test_an_unreachable_gateway_is_reported_in_the_form_of_other_errors(start_nginx: StartNginx) -> None:
    async with scripted(lambda _: None) as silent:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{silent}", "accel.conf", silent))
        response = await nginx.get("/i/a")
    assert (response.status, response.json()["code"]) == (503, "gateway_unreachable")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


async def test_an_unrequested_206_or_204_of_cos_is_kept_by_no_cache(start_nginx: StartNginx) -> None:
    """nginx can replace an answer from 300 on, and passes these on."""
    unasked = {
        "/part": answer(206, "1234", ETag='"1"', Content_Range="bytes 0-3/5"),
        "/everything": answer(206, "12345", ETag='"1"', Content_Range="bytes 0-4/5"),
        "/nothing": "HTTP/1.1 204 No Content\r\n\r\n",
    }
    asked = []

    def cos(head: str) -> str:
        asked.append(head.split()[1])
        return unasked[asked[-1]]

    def gateway(head: str) -> str:
        return accel_redirect(f"http://cos.example{head.split()[1].removeprefix('/i')}", '"1"', 5)

    async with scripted(gateway) as gateway_port, scripted(cos) as cos_port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{gateway_port}", "accel.conf", cos_port))
        for name in unasked:
            for times in (1, 2):
                assert fields(await nginx.get(f"/i{name}"), "Cache-Control") == ["no-store"]
                assert asked.count(name) == times, "nginx has kept none"


async def test_an_unrequested_304_of_cos_is_an_error(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str:
        return answer(502, "no") if "X-Accel-Failed" in head else accel_redirect("http://cos.example/a", '"1"', 5)

    async with scripted(gateway) as gateway_port, scripted(lambda _: answer(304)) as cos_port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{gateway_port}", "accel.conf", cos_port))
        assert (await nginx.get("/i/a")).status == 502
