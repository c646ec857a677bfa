"""More clients than the process may have open files."""

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import Images
from tests.processes import GatewayProcess, gateway_process
from tests.raw_client import connect
from tests.waiting import until

LIMITED = ("sh", "-c", 'ulimit -n 256 && exec "$@"', "sh", sys.executable, "-m", "gateway")


async def fetch(url: str) -> tuple[int, str]:
    """Status and text, on a separate connection."""
    async with aiohttp.ClientSession() as session, session.get(url, timeout=aiohttp.ClientTimeout(10)) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("rounds", [2])
async def test_accepting_pauses_before_descriptors_run_out_and_resumes(
    raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path, rounds: int
) -> None:
    await images.add("a", b"body")
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    async with gateway_process("serve", "--config", str(file), program=LIMITED) as running:
        for _ in range(rounds):
            async with AsyncExitStack() as silent:
                for _ in range(300):
                    await silent.enter_async_context(connect(running.public))
                await running.line_with("accepting connections is paused")
                await _the_admin_port_and_the_stores_are_well(running)
            assert await fetch(running.public + "/i/a") == (200, "body")
            await until(lambda: _is_named(running), what="the problem in the console")
    said = "".join(running.lines)
    assert said.count("accepting connections is paused") == 1
    assert "Traceback" not in said
    assert "Too many open files" not in said


async def _is_named(running: GatewayProcess) -> bool:
    _, console = await fetch(running.admin + "/api/v1/monitoring/console")
    return "open_files_short" in {problem["name"] for problem in json.loads(console)["data"]["symptoms"]}


async def _the_admin_port_and_the_stores_are_well(running: GatewayProcess) -> None:
    async def is_ready() -> bool:
        status, ready = await fetch(running.admin + "/readyz")
        return status == 200 and '"status": "ready"' in ready

    await until(is_ready, what="readiness")
    _, metrics = await fetch(running.admin + "/metrics")
    samples = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(samples['image_gateway_accept_pauses_total{port="public"}']) >= 1
    assert float(samples['image_gateway_client_connections{port="public"}']) == 67
