"""``delivery: accel``: long URLs, slow clients, a COS that hangs, and several buckets."""

import asyncio
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.nginx.scripted import accel_redirect, answer, scripted
from tests.nginx.test_accel import SMALL


async def test_a_long_key_a_long_token_and_a_long_file_name_fit(
    start_gateway: StartGateway, start_nginx: StartNginx, images: Images, cos: CosEmulator
) -> None:
    token = "t" * 3000
    cast("dict[str, Any]", cos.credentials)[SECRET_ID] = Credential(SECRET_KEY, token)
    gateway = await start_gateway(image_proxy={"delivery": "accel"}, cos={"token": token})
    nginx = await start_nginx(in_front_of(gateway.address, "accel.conf", cos.port))
    await images.add("a", SMALL, key="图" * 280)
    answered = await nginx.get(f"/i/a?download={quote('图' * 200)}")
    assert (answered.status, answered.body) == (200, SMALL)
    assert answered.headers["Content-Disposition"].count("%E5%9B%BE") == 200
    assert "fwd=uri-miss" in answered.headers["Cache-Status"]  # nginx fetched it, and the gateway did not stream it


async def test_a_slow_client_slows_the_transfer_down_and_nothing_is_written_to_disk(
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
        while sent < seen.bytes_sent and not seen.finished:  # until COS has sent nothing for 0.1 s
            sent = seen.bytes_sent
            await asyncio.sleep(0.1)
        assert not seen.finished
        assert await answered.read() == content.read(0, last + 1)
    assert written_to(nginx.folder / "proxy") == []


def written_to(folder: Path) -> list[Path]:
    """Return what nginx wrote to the folder: it removes temporary files, but not their folders."""
    return list(folder.iterdir())


async def test_the_gateway_fetches_the_object_after_nginx_has_timed_out_once(
    start_nginx: StartNginx, gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    configuration = in_front_of(gateway.address, "accel.conf", cos.port)
    address = f"server 127.0.0.1:{cos.port};"
    shorter = {"proxy_read_timeout 15s;": "proxy_read_timeout 1s;", "upstream_timeout 5s;": "upstream_timeout 500ms;"}
    nginx = await start_nginx(configuration.replace(address, address * 2), shorter)
    await images.add("a", SMALL)
    cos.faults.add(Fault(action=Hang(), method="GET", times=1))
    answered = await nginx.get("/i/a")
    assert (answered.status, answered.body) == (200, SMALL)
    assert len(cos.request_log.of("objects/a.png", "GET")) == 2


async def test_each_bucket_uses_the_upstream_that_is_configured_for_it(start_nginx: StartNginx) -> None:
    def gateway(head: str) -> str:
        host = "here.example" if head.startswith("GET /i/here") else "there.example"
        return accel_redirect(f"http://{host}/a.png", '"1"', len(host))

    def bucket(name: str) -> Any:
        return lambda head: answer(200, name, ETag='"1"') if f"Host: {name}\r\n" in head else answer(404)

    async with (
        scripted(gateway) as gateway_port,
        scripted(bucket("here.example")) as here,
        scripted(bucket("there.example")) as there,
    ):
        configuration = in_front_of(f"127.0.0.1:{gateway_port}", "accel.conf", here).replace(
            "{ default cos; }", "{ default cos; there.example cos_there; }"
        )
        nginx = await start_nginx(f"upstream cos_there {{ server 127.0.0.1:{there}; }}\n{configuration}")
        assert (await nginx.get("/i/here")).body == b"here.example"
        assert (await nginx.get("/i/there")).body == b"there.example"
