"""``delivery: accel``: long URLs, slow clients, a COS that hangs, and more buckets than one."""

import asyncio
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.content import SyntheticContent
from gateway.cos_emulator.faults import Fault, Hang
from gateway.cos_emulator.server import CosEmulator
from gateway.dev.database import ImageRow
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, accel
from tests.nginx.scripted import answer, handing_over, scripted
from tests.nginx.test_accel import SMALL


async def test_a_long_key_a_long_token_and_a_long_file_name_fit(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, cos: CosEmulator
) -> None:
    token = "t" * 3000
    cast("dict[str, Any]", cos.credentials)[SECRET_ID] = Credential(SECRET_KEY, token)
    gateway = await start_gateway(image_proxy={"delivery": "accel"}, cos={"token": token})
    nginx = await start_nginx(accel(gateway.ports.public.removeprefix("http://"), cos.port))
    await images.add("a", SMALL, key="图" * 280)
    answered = await nginx.get(f"/i/a?download={quote('图' * 200)}")
    assert (answered.status, answered.body) == (200, SMALL)
    assert answered.headers["Content-Disposition"].count("%E5%9B%BE") == 200
    assert "fwd=uri-miss" in answered.headers["Cache-Status"]  # it did not take the way through the gateway


async def test_a_slow_client_slows_the_transfer_down_and_fills_no_disk(
    nginx: Nginx, images: Images, cos: CosEmulator
) -> None:
    content = SyntheticContent(60_000_000)
    cos.store.put(BUCKET, "a.png", content)
    await images.add_row(ImageRow("a", None, "a.png", public=True))
    last = content.size - 2
    async with nginx.session.get(nginx.url + "/i/a", headers={"Range": f"bytes=0-{last}"}) as answered:
        assert answered.status == 206
        seen = cos.request_log.of("a.png", "GET")[0]
        sent = -1
        while sent < seen.bytes_sent and not seen.finished:  # until nothing moves any more
            sent = seen.bytes_sent
            await asyncio.sleep(0.1)
        assert not seen.finished
        assert await answered.read() == content.read(0, last + 1)
    assert written_to(nginx.folder / "proxy") == []


def written_to(folder: Path) -> list[Path]:
    """What nginx ever wrote there: it removes the files, but not the folders they were in."""
    return list(folder.iterdir())


async def test_a_cos_that_hangs_is_given_up_once_and_the_gateway_tries(
    start_nginx: StartNginx, gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    configuration = accel(gateway.ports.public.removeprefix("http://"), cos.port)
    address = f"server 127.0.0.1:{cos.port};"
    shorter = {"proxy_read_timeout 15s;": "proxy_read_timeout 1s;", "upstream_timeout 5s;": "upstream_timeout 500ms;"}
    nginx = await start_nginx(configuration.replace(address, address * 2), shorter)
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Hang(), method="GET", times=1))
    answered = await nginx.get("/i/a")
    assert (answered.status, answered.body) == (200, SMALL)
    assert len(cos.request_log.of("objects/a.png", "GET")) == 2


async def test_each_bucket_has_the_upstream_that_is_named_for_it(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str:
        host = "here.example" if head.startswith("GET /i/here") else "there.example"
        return handing_over(f"http://{host}/a.png", '"1"', len(host))

    def bucket(name: str) -> Any:
        return lambda head: answer(200, name, ETag='"1"') if f"Host: {name}\r\n" in head else answer(404)

    async with (
        scripted(gateway) as deciding,
        scripted(bucket("here.example")) as here,
        scripted(bucket("there.example")) as there,
    ):
        configuration = accel(f"127.0.0.1:{deciding}", here).replace(
            "{ default cos; }", "{ default cos; there.example cos_there; }"
        )
        nginx = await start_nginx(f"upstream cos_there {{ server 127.0.0.1:{there}; }}\n{configuration}")
        assert (await nginx.get("/i/here")).body == b"here.example"
        assert (await nginx.get("/i/there")).body == b"there.example"
