"""Hostile requests cannot fill the disk with log lines."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hostile.test_requests import MALFORMED, ODD
from tests.processes import gateway_process
from tests.raw_client import exchange

OTHERS = ("draining", "gateway.access", "dependency is")  # what a busy machine may add, too


@pytest.mark.usefixtures("images_table", "forked_commands")
async def test_hundreds_of_hostile_requests_log_one_line(
    raw_settings: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    raw_settings["server"]["keepalive_timeout"] = 0.3
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    async with gateway_process("serve", "--config", str(file)) as running:
        before, began = len(running.lines), time.monotonic()
        everything = [data for data in (MALFORMED | ODD).values() for _ in range(3)]
        for start in range(0, len(everything), 50):
            await asyncio.gather(*(exchange(running.public, data) for data in everything[start : start + 50]))
        most = 2 + int((time.monotonic() - began) / 10)
        running.terminate()
        assert await running.exit_code() == 0
    written = [line for line in running.lines[before:] if not any(word in line for word in OTHERS)]
    assert len(written) <= most, written  # one line is for ten seconds
    assert all("malformed request" in line for line in written)
    assert "Traceback" not in "".join(running.lines)
