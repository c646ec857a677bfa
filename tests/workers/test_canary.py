"""The canary and ``check --running`` with workers: each worker is a replica, and the parent shows one light."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway_dev.processes import free_port
from tests.conftest import Images
from tests.processes import run_gateway
from tests.waiting import until
from tests.workers.conftest import STARTED, StartWorkers, get_text

pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


async def test_workers_share_the_rounds_and_are_one_light_and_two_rows(
    start_workers: StartWorkers, images: Images, tmp_path: Path
) -> None:
    await images.add("public")
    await images.add("private", owner="alice", public=False)
    port = free_port()
    front = f"http://127.0.0.1:{port}"
    canary = {"via": [front], "public": "public", "private": "private", "every": 1}
    running = await start_workers(2, server={"port": port}, canary=canary)

    async def data() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await get_text(f"{running.admin}/api/v1/monitoring/console"))["data"]
        return found

    async def is_green() -> bool:
        lights = {light["name"]: light for light in (await data())["dependencies"]}
        return "outside" in lights and lights["outside"]["state"] == "ok"

    await until(is_green, seconds=STARTED, what="the light")

    async def is_up() -> bool:
        return f'image_gateway_canary_up{{check="public",via="{front}",worker="2"}} 1.0' in await get_text(
            f"{running.admin}/metrics"
        )

    await until(is_up, seconds=STARTED, what="the metric")

    async def both_are_listed() -> bool:
        names = [replica["name"].rpartition(":")[2] for replica in (await data())["replicas"]]
        return sorted(names) == ["worker-1", "worker-2"]

    await until(both_are_listed, seconds=STARTED, what="both workers in Redis")
    config = str(next(tmp_path.rglob("*.yaml")))
    options = ("--admin", running.admin, "--nginx", str(tmp_path), "--nginx-status", "http://127.0.0.1:1/")
    code, output = await run_gateway("check", "--running", *options, "--config", config)
    assert code == 0, output
    assert "ok    differences: 2 processes have the same version, program, settings and key" in output
