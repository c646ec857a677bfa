"""The Dockerfile builds a small image that runs as an unprivileged user and receives signals."""

import json
import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import click
from packaging.specifiers import SpecifierSet

from gateway import cli
from gateway.settings import AdminSettings, ServerSettings
from tests.config.files import ROOT, read


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


def test_the_image_is_built_in_one_stage_and_runs_in_another() -> None:
    assert [rest.partition(" AS ")[2] for name, rest in instructions() if name == "FROM"] == ["builder", ""]
    assert not any("pip install" in command or "apt-get" in command for command in in_last_stage("RUN"))


def test_every_stage_uses_one_python_version_that_the_package_accepts() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    accepted = SpecifierSet(setup["options"]["python_requires"])
    versions = re.findall(r"^FROM python:([0-9.]+)-slim", read("Dockerfile"), flags=re.MULTILINE)
    assert len(versions) == 2
    assert len(set(versions)) == 1  # the environment links to the interpreter it was made with
    assert versions[0] in accepted


def test_the_image_runs_as_a_fixed_user_that_is_not_root() -> None:
    (user,) = in_last_stage("USER")
    uid = user.partition(":")[0]
    assert int(uid) > 0
    assert any(f"--uid {uid}" in command for command in in_last_stage("RUN"))


def test_the_image_starts_the_gateway_without_a_shell() -> None:
    """A shell as process 1 would not pass SIGTERM on."""
    (entrypoint,), (command,) = in_last_stage("ENTRYPOINT"), in_last_stage("CMD")
    assert json.loads(entrypoint) == ["python", "-m", "gateway"]
    name, *arguments = json.loads(command)
    context = _command(name).make_context(name, arguments, parent=_group())
    assert context.params["config"] == Path("/etc/image-gateway/gateway.yaml")


def test_the_image_can_run_without_a_configuration_file() -> None:
    assert "image-gateway serve\n" in read("Dockerfile")
    assert _command("serve").make_context("serve", [], parent=_group()).params["config"] is None


def test_the_health_check_of_the_image_asks_the_admin_port() -> None:
    (check,) = in_last_stage("HEALTHCHECK")
    program, option, code = json.loads(check.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{AdminSettings().port}/healthz" in code


def test_the_image_exposes_the_ports_that_the_gateway_listens_on() -> None:
    assert in_last_stage("EXPOSE") == [f"{ServerSettings().port} {AdminSettings().port}"]


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
