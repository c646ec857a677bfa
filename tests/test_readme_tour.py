"""The tour of the README: every command runs on the development stack and prints the text in the README."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import gateway_process

pytestmark = pytest.mark.xdist_group("dev")  # its stack and those of the other tests take the same ports first

ROOT = Path(__file__).parent.parent
# "…" in the README is any text; signatures, request ids, Unix times, seconds left and ports differ from run to run.
_VARYING = re.compile(r"(…|[A-Za-z0-9_-]{43}|\b[0-9a-f]{16}\b|\b\d{10}(?:\.\d+)?|ttl=\d+|127\.0\.0\.1:\d+)")


def steps() -> Iterator[tuple[str, str]]:
    """Yield each command of the tour with the output that the README shows for it."""
    tour = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## A tour of five minutes")[2].partition("\n## ")[0]
    )
    for block in re.findall(r"```\n(.*?)```", tour, flags=re.DOTALL):
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, output = step.partition("\n")
            yield command, output.rstrip("\n")


def as_pattern(shown: str) -> str:
    """Return a pattern for ``shown`` in which the varying parts match any text."""
    return "".join(".+" if _VARYING.fullmatch(part) else re.escape(part) for part in _VARYING.split(shown))


async def sh(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a shell script in ``folder``; return its output."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        script,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode().replace("\r", "").rstrip("\n")


@pytest.mark.usefixtures("redis_client", "images_table")
async def test_every_step_of_the_tour_prints_what_the_readme_shows(
    redis_url: str, postgres_dsn: str, tmp_path: Path
) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for program, arguments in ((".venv/bin/python", ""), ("curl", f"'{ROOT / 'tests' / 'curl.py'}'")):
        (tmp_path / program).write_text(f"#!/bin/sh\nexec '{sys.executable}' {arguments} \"$@\"\n")
        (tmp_path / program).chmod(0o755)
    servers = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn, "COLUMNS": "200"}
    environment = {**os.environ, **servers, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    wrong = []
    async with gateway_process("dev", environment=servers, cwd=tmp_path) as running:
        token = await running.line_with("ALICE_TOKEN=")
        known = token
        for command, shown in steps():
            if command == "ALICE_TOKEN=…":
                continue
            command = command.replace("http://127.0.0.1:8080", running.public)
            command = command.replace("http://127.0.0.1:9090", running.admin)
            printed = await sh(f"{known}\n{command}", tmp_path, environment)
            if command.startswith("LINK="):
                known = f"{known}\nLINK='{printed}'"
            if not re.fullmatch(as_pattern(shown), printed, flags=re.DOTALL):
                wrong.append((command, shown, printed))
        running.terminate()
        assert await running.exit_code() == 0
    assert len(list(steps())) > 10
    assert wrong == []
