"""``gateway serve`` as an orchestrator runs it: start, signals, drain."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Fault, Hang
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.commands.conftest import said
from tests.conftest import BUCKET, Images
from tests.limits import LIMIT
from tests.processes import gateway_process, ready
from tests.waiting import until

FAR_AWAY = "3600"  # seconds, the most that the settings allow: a slow test does not see the end of it


async def test_a_drain_lets_a_download_finish_and_a_second_signal_ends_it_at_once(
    config_file: Path, images: Images, cos: CosEmulator
) -> None:
    content = SyntheticContent(40_000_000)
    cos.store.put(BUCKET, "big.png", content, content_type="image/png")
    await images.add_row(ImageRow("big", None, "big.png", public=True))
    await images.add("slow", bytes(1_000_000))
    cos.faults.add(Fault(key="objects/slow.png", action=Hang(at=500_000)))
    # A client that reads nothing while it waits for the drain is not disconnected.
    environment = {"GATEWAY_SERVER__SHUTDOWN_GRACE": FAR_AWAY, "GATEWAY_IMAGE_PROXY__TIMEOUT": FAR_AWAY}
    async with (
        gateway_process("serve", "--config", str(config_file), environment=environment) as running,
        aiohttp.ClientSession(read_bufsize=4096) as session,
        session.get(running.public + "/i/slow") as cut,
        session.get(running.public + "/i/big") as whole,
    ):
        await cut.content.readexactly(500_000)
        received = await whole.content.readexactly(1_000_000)
        running.terminate()
        async with asyncio.timeout(LIMIT):
            while (await ready(running.public)).get("status") != "not_ready":
                await asyncio.sleep(0.01)
        received += await whole.content.read()
        assert received == content.read(0, 40_000_000)
        running.process.send_signal(signal.SIGINT)
        with pytest.raises(aiohttp.ClientError):
            await cut.content.read()
        assert await running.exit_code() == 0
    assert any("second signal to stop" in line for line in running.lines)
    assert "Traceback" not in "".join(running.lines)


async def test_a_disk_that_hangs_under_the_audit_log_holds_up_neither_a_reload_nor_the_end(
    config_file: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.log"
    os.mkfifo(audit)  # nobody reads it: to open it takes for ever
    environment = {"GATEWAY_LOGGING__AUDIT": str(audit)}
    async with gateway_process("serve", "--config", str(config_file), environment=environment) as running:
        running.process.send_signal(signal.SIGHUP)
        assert '"action": "reload"' in json.loads(await running.line_with("the disk does not answer"))["event"]
        running.terminate()
        assert await running.exit_code() == 0


async def test_sigusr1_writes_tasks_with_their_stacks_and_connections_by_client_to_the_log(config_file: Path) -> None:
    async with (
        gateway_process("serve", "--config", str(config_file)) as running,
        aiohttp.ClientSession() as session,
        session.get(running.public + "/healthz") as answer,
    ):
        assert answer.status == 200
        running.process.send_signal(signal.SIGUSR1)
        report = json.loads(await running.line_with("report: tasks="))["event"]
        assert "'public': {'127.0.0.1': 1}" in report
        assert re.search(r"turn_ms=\d+\.\d ", report)
        stack = json.loads(await running.line_with("names=loop-lag"))["event"]
        assert re.search(r"stack=.*monitoring/metrics\.py:\d+ measure_loop_lag > .* sleep", stack)
        running.terminate()
        assert await running.exit_code() == 0


async def test_it_starts_without_redis_and_postgres_and_one_worker_is_the_process_itself(config_file: Path) -> None:
    environment = {
        "GATEWAY_REDIS__URL": "redis://127.0.0.1:1/0",
        "GATEWAY_POSTGRES__DSN": "host=127.0.0.1 port=1 dbname=none",
    }
    arguments = ("serve", "--workers", "1", "--config", str(config_file))
    async with gateway_process(*arguments, environment=environment) as running:
        checks = {"redis": "down", "postgres": "down", "cos": "ok", "changes": "ok"}

        async def is_told() -> bool:
            return await ready(running.public) == {"status": "not_ready", "checks": checks}

        await until(is_told, what="which are down")
        assert "workers" not in await ready(running.admin)
        assert psutil.Process(running.process.pid).children() == []


async def test_a_port_in_use_is_reported_in_one_line(config_file: Path) -> None:
    async with gateway_process("serve", "--config", str(config_file)) as running:
        port = running.public.rpartition(":")[2]
        environment = {"GATEWAY_SERVER__PORT": port}
        output = await said(1, "serve", "--config", config_file, environment=environment)
    assert f"the gateway cannot start: server.host and server.port: cannot listen on 127.0.0.1:{port}: " in output


@pytest.mark.parametrize("section", ["server", "admin"])
async def test_a_host_that_is_not_local_is_named_with_its_key(config_file: Path, section: str) -> None:
    environment = {f"GATEWAY_{section.upper()}__HOST": "foo.invalid"}
    output = await said(1, "serve", "--config", config_file, environment=environment)
    assert f"{section}.host and {section}.port: cannot listen on foo.invalid:0: " in output


async def test_a_fallback_picture_that_cannot_be_used_stops_the_start_with_one_line(
    config_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("<html></html>")
    for name, reason in (("missing.png", "there is no such file"), ("page.html", "must be a PNG, JPEG, GIF, ")):
        environment = {"GATEWAY_IMAGE_PROXY__FALLBACK__PATH": str(tmp_path / name)}
        output = await said(2, "serve", "--config", config_file, environment=environment)
        assert output.startswith(f"image_proxy.fallback.path: {reason}")
        assert len(output.splitlines()) == 1
