"""Every command of the runbook and of the alerts that runs the program runs as pasted, by ``image-gateway-admin``."""

import asyncio
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.files import CONFIG, read, read_yaml
from tests.config.test_prometheus_files import RULE_FILES
from tests.conftest import Images
from tests.processes import run_gateway

# Written on lines of their own, in code, or as the command of an alert; up to the next command or comment of the shell.
_COMMAND = re.compile(r"\bimage-gateway-admin ([^`;|>#\n]+)")
_USAGE = 2
_SIGNAL = "tasks"  # to every unit; tests/workers/test_admin_script.py sends it


def commands() -> list[str]:
    documents = [read_yaml(f"config/prometheus/{file}") for file in RULE_FILES]
    rules = [rule for document in documents for group in document["groups"] for rule in group["rules"]]
    texts = [read("docs/runbook.md"), *(text for rule in rules for text in rule.get("annotations", {}).values())]
    return sorted({" ".join(match.split()) for text in texts for match in _COMMAND.findall(text)} - {_SIGNAL})


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.parametrize("command", commands())
async def test_a_command_of_the_runbook_runs_as_pasted(
    command: str, raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path
) -> None:
    """The shell and the script run as pasted; the program gets the words that the script would run it with."""
    await images.add("ID", owner="U")
    config, folder, words = tmp_path / "gateway.yaml", tmp_path / "sbin", tmp_path / "words"
    config.write_text(yaml.safe_dump(raw_settings))
    folder.mkdir()
    (folder / "image-gateway-admin").symlink_to(CONFIG / "systemd" / "image-gateway-admin")
    program = folder / "image-gateway"
    program.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >{shlex.quote(str(words))}\n')
    await asyncio.to_thread(program.chmod, 0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "IMAGE_GATEWAY": str(program),
        "IMAGE_GATEWAY_CONFIG": str(config),
        "IMAGE_GATEWAY_PID": str(os.getpid()),  # like a unit, without variables of its own
    }
    code, output = await run_gateway(program=("sh", "-c", f"image-gateway-admin {command}"), environment=environment)
    assert (code, output) == (0, "")
    code, output = await run_gateway(*words.read_text().split("\0")[:-1])
    assert code != _USAGE, output
    assert output
    assert "Traceback" not in output


def test_the_commands_are_found() -> None:
    assert {"check", "explain ID", "queue dead --purges", "sql changes", "check --nginx /etc/nginx"} <= set(commands())
