"""``delivery: accel``: nginx caches an object under the key of a version only if it is that whole version."""

from typing import Any

import aiohttp
import pytest

from gateway_dev.cos_emulator.faults import Fault, Gzip, Html, NoLength, WrongLength
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.test_accel import SMALL
from tests.waiting import until


async def test_wrong_bytes_are_not_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    actions: tuple[Any, ...] = (Html(), NoLength(cut_at=1000), WrongLength(by=-1000), Gzip())
    for number, action in enumerate(actions):
        await images.add(f"a{number}", SMALL)
        cos.faults.add(Fault(action=action, method="GET"))
        wrong = await nginx.get(f"/i/a{number}")
        assert wrong.body != SMALL
        assert wrong.headers["Cache-Control"] == "no-store"
        for cache_status in ("nginx; fwd=uri-miss", "nginx; hit"):
            answer = await nginx.get(f"/i/a{number}")
            assert (answer.status, answer.body) == (200, SMALL)
            assert answer.headers["Cache-Control"].startswith("public")
            assert answer.headers["Cache-Status"].endswith(cache_status)


async def test_a_body_that_ends_early_is_cut_off_and_not_cached(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=WrongLength(by=1000), method="GET"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await nginx.get("/i/a")
    assert (await nginx.get("/i/a")).body == SMALL


async def test_an_expired_entry_is_revalidated_and_not_replaced_by_wrong_bytes(
    start_nginx: StartNginx, gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    """nginx serves the old entry and renews it in the background: the check must apply to both responses."""
    configuration = in_front_of(gateway.address, "accel.conf", cos.port)
    nginx = await start_nginx(configuration, {"proxy_cache_valid 200 7d;": "proxy_cache_valid 200 1s;"})
    await images.add("a", SMALL)
    await nginx.get("/i/a")

    async def until_requested(times: int) -> None:
        while len(cos.request_log.of("objects/a.png", "GET")) < times:
            answer = await nginx.get("/i/a")
            assert (answer.body, answer.headers["Cache-Control"].split(",")[0]) == (SMALL, "public")
        await cos.request_log.settled()

    await until_requested(2)
    assert cos.request_log.requests[-1].status == 304
    page = cos.faults.add(Fault(action=Html(), method="GET"))
    await until_requested(3)
    await until(lambda: page.fired, what="the wrong page")
    await until_requested(4)
