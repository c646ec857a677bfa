"""``config/systemd/image-gateway-admin``, and signals to workers, with two gateways that have workers."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.config.files import CONFIG
from tests.workers.conftest import STARTED, StartWorkers, workers_of

SCRIPT = CONFIG / "systemd" / "image-gateway-admin"

pytestmark = pytest.mark.timeout(300)  # several processes start, on a machine that may be busy


async def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the script, as root's shell does. Return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        str(SCRIPT),
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_parents_and_units_alone_get_signals_and_sigusr2_only_those_that_have_workers(
    start_workers: StartWorkers, tmp_path: Path
) -> None:
    """Without a pid, a stand-in for systemd names the main processes of its units."""
    systemctl = tmp_path / "systemctl"
    systemctl.touch()
    systemctl.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    real = {"program": [sys.executable, "-B", "-m", "gateway"]}  # a forked process would have another command line
    first, second = await start_workers(2, options=real), await start_workers(2, options=real)
    parents = {str(first.process.pid), str(second.process.pid)}
    workers = {str(pid) for running in (first, second) for pid in workers_of(running)}
    code, output = await run("parents")
    found = {line.split(" ")[0] for line in output.splitlines()}  # other gateways may run on this machine
    assert code == 0
    assert parents <= found
    assert not workers & found
    code, output = await run("reload", str(first.process.pid))
    assert (code, output) == (0, f"SIGHUP was sent to {first.process.pid}\n")
    await first.line_with("configuration reloaded", seconds=STARTED)
    code, output = await run("reload", workers.pop())
    assert code == 1
    assert "is the process of no gateway that takes signals" in output

    code, output = await run("tasks", str(first.process.pid))
    assert (code, sorted(output.splitlines())) == (0, sorted(f"SIGUSR1 was sent to {pid}" for pid in workers_of(first)))
    await first.line_with("report: tasks=", seconds=STARTED)

    for command in ("reload", "roll"):
        code, output = await run(command, **path)
        assert (code, output.partition(";")[0]) == (1, "no unit of the gateway runs here")
    alone = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", "image-gateway", "serve", "--workers", "1", stdin=asyncio.subprocess.PIPE
    )
    try:
        systemctl.write_text(f"#!/bin/sh\nprintf '%s\\n\\n' {first.process.pid} {alone.pid} 0\n")
        code, output = await run("roll", **path)
        lines = [f"SIGUSR2 was sent to {first.process.pid}", f"{alone.pid} has no workers to replace: restart it"]
        assert (code, sorted(output.splitlines())) == (1, sorted(lines))
        code, output = await run("roll", str(alone.pid))
        assert (code, output.splitlines()) == (1, lines[1:])
        assert alone.returncode is None
    finally:
        alone.kill()
        await alone.wait()
        alone._transport.close()  # type: ignore[attr-defined]
    await first.line_with("replacing workers by those of a program", seconds=STARTED)

    # A worker passes signals on to its parent.
    assert not [line for line in second.lines if "reloaded" in line or "replacing" in line]
    os.kill(workers_of(second)[0], signal.SIGHUP)
    await second.line_with("the signal to reload is passed on to the parent", seconds=STARTED)
    await second.line_with("configuration reloaded", seconds=STARTED)
    os.kill(workers_of(second)[1], signal.SIGUSR2)
    await second.line_with("replacing workers by those of a program", seconds=STARTED)


async def test_a_command_gets_path_configuration_secrets_and_its_own_options(tmp_path: Path) -> None:
    program, config = tmp_path / "image-gateway", tmp_path / "gateway.yaml"
    program.write_text('#!/bin/sh\necho "$GATEWAY_SECRETS_DIR|$*"\n')
    program.chmod(0o755)
    config.touch()
    set_up = {"IMAGE_GATEWAY": str(program), "IMAGE_GATEWAY_CONFIG": str(config), "GATEWAY_SECRETS_DIR": "/the/secrets"}
    assert await run("explain", "ID", "--json", **set_up) == (0, f"/the/secrets|explain --config {config} ID --json\n")
    assert await run("--version", **set_up) == (0, "/the/secrets|--version\n")
    config.unlink()
    assert await run("explain", "ID", **set_up) == (0, "/the/secrets|explain ID\n")


async def test_a_command_has_the_variables_of_the_unit_that_runs(tmp_path: Path) -> None:
    """A drop-in may set them; what has the name of a gateway here is a process that waits."""
    program = tmp_path / "image-gateway"
    of_credentials = {"TENCENTCLOUD_SECRET_ID": "an id", "TKE_ROLE_ARN": "a role", "PGPASSWORD": "a password"}
    taken = {"GATEWAY_SERVER__PORT": "8123", **of_credentials}
    program.write_text(f"#!/bin/sh\nprintenv {' '.join(taken)}\n")
    program.chmod(0o755)
    environment = {**taken, "GATEWAY_SECRETS_DIR": "/of/systemd", "PATH": os.environ["PATH"]}
    waiting = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", "image-gateway", "serve", env=environment, stdin=asyncio.subprocess.PIPE
    )
    try:
        code, output = await run("check", IMAGE_GATEWAY=str(program), IMAGE_GATEWAY_PID=str(waiting.pid))
    finally:
        waiting.kill()
        await waiting.wait()
        waiting._transport.close()  # type: ignore[attr-defined]
    assert (code, output.splitlines()) == (0, list(taken.values()))
