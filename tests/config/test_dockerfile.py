"""The Dockerfile builds a small image that runs as an unprivileged user and receives signals."""

import asyncio
import json
import re
import shlex
import socket
from configparser import ConfigParser
from pathlib import Path

import click
from packaging.specifiers import SpecifierSet

from gateway import cli
from gateway.settings import AdminSettings, ServerSettings
from tests.config.files import ROOT, read
from tests.conftest import RunningGateway


def instructions() -> list[tuple[str, str]]:
    """Return the name and the arguments of each instruction of the Dockerfile, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", read("Dockerfile"), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    split = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, rest) for name, rest in split]


def in_last_stage(name: str) -> list[str]:
    """Return the arguments of each instruction of this name in the stage that becomes the image."""
    stages = [number for number, (instruction, _) in enumerate(instructions()) if instruction == "FROM"]
    return [rest for instruction, rest in instructions()[stages[-1] :] if instruction == name]


def test_every_stage_uses_one_python_version_that_the_package_accepts() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    accepted = SpecifierSet(setup["options"]["python_requires"])
    versions = re.findall(r"^FROM python:([0-9.]+)-slim", read("Dockerfile"), flags=re.MULTILINE)
    assert len(versions) == 2
    assert len(set(versions)) == 1  # the environment links to the interpreter it was made with
    assert versions[0] in accepted


def test_the_image_runs_as_a_fixed_user_that_is_not_root_on_the_gateway_s_ports() -> None:
    (user,) = in_last_stage("USER")
    uid = user.partition(":")[0]
    assert int(uid) > 0
    assert any(f"--uid {uid}" in command for command in in_last_stage("RUN"))
    assert in_last_stage("EXPOSE") == [f"{ServerSettings().port} {AdminSettings().port}"]


def test_the_image_starts_the_gateway_without_a_shell_also_without_a_configuration_file() -> None:
    """A shell as process 1 would not pass SIGTERM on."""
    (entrypoint,), (command,) = in_last_stage("ENTRYPOINT"), in_last_stage("CMD")
    assert json.loads(entrypoint) == ["python", "-m", "gateway"]
    name, *arguments = json.loads(command)
    context = _command(name).make_context(name, arguments, parent=_group())
    assert context.params["config"] == Path("/etc/image-gateway/gateway.yaml")
    assert "image-gateway serve\n" in read("Dockerfile")
    assert _command("serve").make_context("serve", [], parent=_group()).params["config"] is None


async def test_the_health_check_follows_the_admin_port(gateway: RunningGateway, tmp_path: Path) -> None:
    port = gateway.ports.admin.rpartition(":")[2]
    file, script = tmp_path / "gateway.yaml", tmp_path / "healthy"
    text = read("config/container/image-gateway-healthy")
    script.write_text(text.replace("/etc/image-gateway/gateway.yaml", str(file)))

    async def codes(**environment: str) -> list[int]:
        return [
            await (await asyncio.create_subprocess_exec("bash", str(script), *path, env=environment)).wait()
            for path in ((), ("/readyz",), ("/nowhere",))
        ]

    assert await codes(GATEWAY_ADMIN__PORT=port, GATEWAY_ADMIN__HOST="localhost") == [0, 0, 1]
    for configured in (
        f"server: {{port: 1}}\nadmin:\n  host: 127.0.0.1\n  #port: 2\n  port: {port}  # not 9090\nlogging: {{}}\n",
        f'server:\n  port: 1\nadmin: {{host: "0.0.0.0", port: {port}}}\n',
    ):
        file.write_text(configured)
        assert await codes() == [0, 0, 1], configured
    file.write_text("admin:\n  port: 1\n")
    assert await codes(GATEWAY_ADMIN__PORT=port) == [0, 0, 1], "the variable comes before the file"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert await codes(GATEWAY_ADMIN__PORT=str(unused.getsockname()[1])) == [1, 1, 1]


def test_the_build_context_holds_only_the_files_that_the_build_copies() -> None:
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)
    assert "*" in read(".dockerignore").splitlines()


def _group() -> click.Context:
    """The context of the group; a command that is parsed without it keeps click's default names of the help option."""
    return click.Context(cli.main, info_name="main", **cli.main.context_settings)


def _command(name: str) -> click.Command:
    command = cli.main.get_command(_group(), name)
    assert command is not None
    return command
