"""The gateway as a process on asyncio's own event loop and on uvloop: the same answers, signals and log."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from gateway.cos_emulator.content import SyntheticContent
from gateway.dev.database import ImageRow
from tests.conftest import BUCKET, Images
from tests.processes import GatewayProcess, gateway_process, run_gateway, runs_on_uvloop
from tests.raw_client import connect
from tests.waiting import until_finished

pytestmark = pytest.mark.timeout(180)  # processes start, on a machine that may be busy

LOOPS = ("asyncio", "uvloop")
CAT = bytes(range(256)) * 16
BIG = SyntheticContent(10_000_000)
WITHOUT_THE_EXTRA = "import sys; sys.modules['uvloop'] = None; from gateway.cli import main; main()"


@pytest.fixture(params=LOOPS)
def config(request: pytest.FixtureRequest, raw_settings: dict[str, Any], tmp_path: Path) -> Path:
    """The configuration file, with each event loop in turn."""
    file = tmp_path / "gateway.yaml"
    server = {**raw_settings["server"], "loop": request.param, "shutdown_grace": 60}
    sections = {"server": server, "image_proxy": {"timeout": 20}, "logging": {"access": False}}
    file.write_text(yaml.safe_dump({**raw_settings, **sections}))
    return file


@pytest.fixture
async def running(config: Path, images: Images) -> AsyncIterator[GatewayProcess]:
    """The gateway; at the end it has logged no warning and ends in order."""
    await images.add("cat", CAT)
    images.cos.store.put(BUCKET, "big.png", BIG)
    await images.add_row(ImageRow("big", None, "big.png", public=True))
    async with gateway_process("serve", "--config", str(config)) as process:
        assert runs_on_uvloop(process.process.pid) is ("loop: uvloop" in config.read_text())
        yield process
        if process.process.returncode is None:
            process.terminate()
        assert await process.exit_code() == 0
    assert {json.loads(line)["level"] for line in process.lines} <= {"debug", "info"}, process.lines


async def answer(
    running: GatewayProcess, path: str, method: str = "GET", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    """Return status, headers and body."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, running.public + path, headers=headers, allow_redirects=False) as response,
    ):
        return response.status, response.headers, await response.read()


async def test_answers_of_every_kind(running: GatewayProcess) -> None:
    for source in ("fwd=", "hit"):  # from COS, then from memory
        status, headers, body = await answer(running, "/i/cat")
        assert (status, body, source in headers["Cache-Status"]) == (200, CAT, True)
    status, headers, body = await answer(running, "/i/cat", Range="bytes=256-511")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 256-511/{len(CAT)}", CAT[:256])
    status, headers, body = await answer(running, "/i/cat", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(CAT)), b"")
    status, headers, body = await answer(running, "/i/cat", **{"If-None-Match": headers["ETag"]})
    assert (status, body) == (304, b"")
    status, headers, _ = await answer(running, "/i/cat?redirect=true")
    assert (status, "q-signature=" in headers["Location"]) == (302, True)
    assert (await answer(running, "/i/big", Range="bytes=9000000-"))[2] == BIG.read(9_000_000, 10_000_000)
    assert (await answer(running, "/i/nobody"))[0] == 404
    async with connect(running.public) as connection:
        await connection.send(b"no HTTP\r\n\r\n")
        assert (await connection.read_head()).status == 400


async def test_slow_readers_get_ten_megabytes_and_those_that_leave_end_their_transfer(
    running: GatewayProcess, images: Images
) -> None:
    async with connect(running.public, receive_buffer=16_384) as connection:
        await connection.get("/i/big")
        await connection.read_head()
        await connection.reader.readexactly(100_000)
    assert (await until_finished(images.cos, "big.png")).client_left
    async with connect(running.public, receive_buffer=16_384) as connection:
        await connection.get("/i/big")
        head = await connection.read_head()
        begun = b""
        for _ in range(20):
            begun += await connection.reader.readexactly(4_096)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(60):
            rest = await connection.reader.readexactly(int(head.headers["content-length"]) - len(begun))
    assert begun + rest == BIG.read(0, 10_000_000)


async def test_a_reload_and_a_drain(running: GatewayProcess, config: Path) -> None:
    """The image that is under way at SIGTERM is sent to its end; the event loop itself needs a restart."""
    async with connect(running.public, receive_buffer=16_384) as connection:
        await connection.get("/i/big")
        head = await connection.read_head()
        settings = yaml.safe_load(config.read_text())
        settings["image_proxy"]["max_age"] = 77
        config.write_text(yaml.safe_dump(settings))
        running.process.send_signal(signal.SIGHUP)
        assert "image_proxy.max_age" in await running.line_with("configuration reloaded")
        assert "max-age=77" in (await answer(running, "/i/cat"))[1]["Cache-Control"]
        running.terminate()
        await running.line_with("draining")
        async with asyncio.timeout(60):
            body = await connection.reader.readexactly(int(head.headers["content-length"]))
    assert body == BIG.read(0, 10_000_000)
    assert await running.exit_code() == 0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket, as that of a socket unit."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


async def test_on_the_socket_of_systemd_a_second_signal_resets_what_is_under_way(
    config: Path, images: Images, listener: socket.socket
) -> None:
    images.cos.store.put(BUCKET, "big.png", BIG)
    await images.add_row(ImageRow("big", None, "big.png", public=True))
    async with gateway_process("serve", "--config", str(config), listener=listener) as running:
        assert running.public == f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with connect(running.public, receive_buffer=4_096) as connection:
            await connection.get("/i/big")
            await connection.read_head()
            running.terminate()
            await running.line_with("draining")
            running.process.send_signal(signal.SIGINT)
            assert "second signal to stop" in await running.line_with("aborting")
            assert len(await connection.read_rest()) < 10_000_000
        assert await running.exit_code() == 0


async def test_without_the_extra_there_is_one_line(raw_settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump({**raw_settings, "server": {"loop": "uvloop"}}))
    code, output = await run_gateway("serve", "--config", str(file), program=(sys.executable, "-c", WITHOUT_THE_EXTRA))
    assert (code, output.strip()) == (2, "server.loop: needs the extra uvloop: pip install 'image-gateway[uvloop]'")
