"""A release, and its wheel in an environment outside of the checkout: every file that runs comes from the wheel."""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aiohttp
import pytest
import yaml

from release import differences
from tests.conftest import Images
from tests.processes import gateway_process

# The wheel is built once; building and starting take their time on a busy machine.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parents[1]
VERSION = re.findall(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), flags=re.MULTILINE)[0]

# No variable of this process may lead to the checkout.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}

AS_SOMEBODY = ("-c", "user.name=somebody", "-c", "user.email=somebody@example")

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import gateway
for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("\\n".join(sorted({module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "gateway"})))
"""


INSTALL = re.compile(r"^On the server, as root.*?^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SWITCH = re.compile(r"^(IMAGE_GATEWAY=\S+ image-gateway-admin check &&\n *ln .*?) &&", re.MULTILINE)


def install_steps() -> list[str]:
    """Return the paragraphs of the commands that install a release on a server."""
    (commands,) = INSTALL.findall((ROOT / "docs/production.md").read_text(encoding="utf-8"))
    return [f"{step.rstrip()}\n" for step in str(commands).split("\n\n")]


def on_server(
    server: Path, commands: str, environment: Mapping[str, str] = ENVIRONMENT, *, version: str = VERSION
) -> None:
    """Run commands of the documents; the folder ``server`` takes the place of ``/``. Raises ``AssertionError``.

    A secret that they read from the standard input is in a file of its name in ``values``.
    """
    commands = re.sub(r"version=\S+ release=\S+", f"version={version} release=/opt/image-gateway-{version}", commands)
    for documented, replaced in (
        ("/opt/", f"{server}/opt/"),
        ("/usr/local/sbin/", f"{server}/"),
        ("/etc/", f"{server}/etc/"),
        ("/usr/bin/python3", f"{server}/python3"),
        (" -g image-gateway ", " "),  # which needs root
    ):
        commands = commands.replace(documented, replaced)
    commands = re.sub(r"/dev/stdin (\S+/(\w+))", rf"{server}/values/\2 \1", commands)
    done = subprocess.run(
        ("sh", "-e", "-c", commands),
        cwd=server,
        env={
            **environment,
            "PATH": f"{server}:{environment['PATH']}",
            "IMAGE_GATEWAY_CONFIG": f"{server}/etc/image-gateway/gateway.yaml",
            "GATEWAY_SECRETS_DIR": f"{server}/etc/image-gateway/secrets",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel of a release: its folder, and the clone that the release was built from."""

    folder: Path
    clone: Path

    def files(self, name: str) -> set[str]:
        """Return the names in a file of the release, without the version in them."""
        (file,) = (self.clone / "dist").glob(name)
        if file.suffix == ".whl":
            with ZipFile(file) as wheel:
                return set(wheel.namelist())
        with tarfile.open(file) as archive:
            return {member.name.partition("/")[2] for member in archive}

    def tracked(self, folder: str) -> set[str]:
        """Return the names of the tracked files below a folder of the clone."""
        command = ("git", "ls-files", "-z", "--", folder)
        listed = subprocess.run(command, cwd=self.clone, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        return set(listed.stdout.split("\0")) - {""}

    @property
    def program(self) -> str:
        """The installed command."""
        return str(self.folder / "bin" / "image-gateway")

    def run(self, *command: str) -> str:
        """Run a command that must succeed, in the folder; return its output."""
        done = subprocess.run(
            command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The release as the documents build and install it, but for root's rights and the dependencies.

    Nothing is downloaded. A ``.pth`` file names a folder with links to the dependencies, but none to the
    checkout.
    """
    server = tmp_path_factory.mktemp("server")
    source = server / "source"
    for name in ("gateway", "gateway_dev", "config"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__", "*.egg-info")
        )
    for name in (
        "setup.cfg",
        "pyproject.toml",
        "constraints.txt",
        "requirements.txt",
        "README.md",
        "Makefile",
        "release.py",
        ".gitignore",
    ):
        shutil.copy(ROOT / name, source)
    for command in (("init", "--quiet"), ("add", "."), (*AS_SOMEBODY, "commit", "--quiet", "--message=all")):
        subprocess.run(("git", *command), cwd=source, env=ENVIRONMENT, check=True)
    for name in ("config/secrets/admin__token", "gateway/untracked.py", "gateway_dev/untracked.py"):
        (source / name).write_text("of the clone")
    (stamp := source / "installed").touch()
    make = ("make", "--silent", "release", f"BIN={Path(sys.executable).parent}", f"STAMP={stamp}")
    environment = {**ENVIRONMENT, "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_COMPILE": "0"}
    built = subprocess.run(
        (*make, "CYCLONEDX=", "NPM=", "BUILDAH="),
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    begun = [f"{number} build: {what} ..." for number in ("first", "second") for what in ("the wheels", "the sources")]
    assert all(line[:-4] in built.stdout for line in begun), "it says what takes so long"
    release = f"image-gateway-{VERSION}-server.tar.gz"
    shutil.copy(source / "dist" / release, server)
    # The virtual environment without its pip, which takes longer to make than all the rest.
    pip = f"exec '{sys.executable}' -m pip --disable-pip-version-check --quiet --python '$3/bin/python' \\\"\\$@\\\""
    make_venv = f"'{sys.executable}' -m venv --without-pip $3 && printf %s \"{pip}\" >$3/bin/pip && chmod +x $3/bin/pip"
    for name, script in (("python3", make_venv), ("useradd", 'echo "$@" >../user')):
        (server / name).write_text(f"#!/bin/sh\n{script}\n")
        (server / name).chmod(0o755)
    (server / "opt").mkdir()
    (server / "etc").mkdir()
    # The first line names the wheel; what follows would be downloaded.
    unpack = install_steps()[0].replace("-r requirements.txt", "-r wheel.txt")
    on_server(server, unpack.replace("mkdir ", "head -1 requirements.txt >wheel.txt\nmkdir "), environment)
    (venv,) = (server / "opt").iterdir()
    (packages,) = venv.glob("lib/python*/site-packages")
    (dependencies := server / "dependencies").mkdir()
    for file in Path(sysconfig.get_path("purelib")).iterdir():
        if not file.name.lstrip("_").startswith(("image_gateway", "editable")):
            (dependencies / file.name).symlink_to(file)
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")
    return Installed(venv, source)


def test_every_module_is_imported_from_the_wheel(installed: Installed) -> None:
    output = installed.run(str(installed.folder / "bin" / "python"), "-I", "-c", IMPORT_EVERYTHING)
    files = [Path(line) for line in output.splitlines()]
    assert len(files) > 200
    assert [file for file in files if installed.folder not in file.parents] == []


def test_the_wheel_has_every_file_that_runs_and_no_other(installed: Installed) -> None:
    files = installed.files("image_gateway-*.whl")
    shipped = {name for name in files if name.startswith("gateway/")}
    assert {name for name in files if ".dist-info/" not in name} == shipped
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "gateway").rglob("*.py") if "web" not in file.parts}
    assert {name for name in shipped if name.endswith(".py")} == modules
    assert {"gateway/py.typed", "gateway/catalog/sql/changes.sql", "gateway/web/static/smart-image.js"} <= shipped
    assert [
        name for name in shipped if name.startswith("gateway/web/") and not re.search("/(static|brand|console)/", name)
    ] == []


def test_the_sources_are_all_tracked_files_and_a_server_gets_the_configuration(installed: Installed) -> None:
    assert installed.files(f"image_gateway-{VERSION}.tar.gz") == {"PKG-INFO", *installed.tracked(".")}
    wheel, for_development = sorted((installed.clone / "dist").glob("*.whl"))
    assert for_development.name.startswith("image_gateway_dev-")
    assert installed.files("*-server.tar.gz") == {"requirements.txt", wheel.name, *installed.tracked("config")}
    sums = (installed.clone / "dist" / "SHA256SUMS").read_text()
    assert f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" in sums
    assert sums.count("\n") == 4


def test_builds_that_differ_by_a_bit_are_not_a_release(tmp_path: Path) -> None:
    for folder, data in (("first", b"0"), ("second", b"1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same").write_bytes(b"0")
        (tmp_path / folder / "differing").write_bytes(data)
        (tmp_path / folder / f"only in the {folder}").touch()
    assert differences(tmp_path / "first", tmp_path / "second") == [
        "differing",
        "only in the first",
        "only in the second",
    ]


def test_the_installed_command_has_the_version_of_setup_cfg(installed: Installed) -> None:
    assert installed.run(installed.program, "--version") == f"image-gateway, version {VERSION}\n"
    assert {"check", "explain", "serve", "sql"} <= set(installed.run(installed.program, "--help").split())


def test_the_wheel_for_development_has_the_rest_and_adds_its_command(installed: Installed, tmp_path: Path) -> None:
    """Without it, the command says what to install: a file, since no index has it, or it has an unrelated package."""
    python = str(installed.folder / "bin" / "python")
    for program in ((installed.program,), (python, "-m", "gateway")):
        done = subprocess.run(
            (*program, "dev"), env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=50
        )
        assert done.returncode == 1
        assert done.stderr.startswith("Error: dev is not part of this installation: run `make install` in a clone")
        assert "pip install ./image_gateway_dev-VERSION-py3-none-any.whl" in done.stderr
    files = {name for name in installed.files("image_gateway_dev-*.whl") if ".dist-info/" not in name}
    tracked = installed.tracked("gateway_dev")
    made_of = (".py", "/py.typed", "/README.md", "/static/playground.js", "/web/index.html", "/web/playground.css")
    assert files == {name for name in tracked if name.endswith(made_of)}
    assert "gateway_dev/static/playground.js" in files
    (wheel,) = (installed.clone / "dist").glob("image_gateway_dev-*.whl")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--target")
    subprocess.run((*pip, tmp_path, wheel), env=ENVIRONMENT, check=True)
    metadata = (tmp_path / f"image_gateway_dev-{VERSION}.dist-info/METADATA").read_text()
    assert f"Requires-Dist: image-gateway=={VERSION}\n" in metadata
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
    for arguments in ("--help",), ("dev", "--help"):
        done = subprocess.run(
            (installed.program, *arguments), env=environment, capture_output=True, text=True, check=False
        )
        assert "Run the gateway on an embedded stack with sample images." in done.stdout, done.stderr


async def test_the_documented_upgrade_switches_the_link_that_the_installation_made_after_a_check_that_succeeds(
    installed: Installed, raw_settings: dict[str, dict[str, Any]], images: Images
) -> None:
    await images.add("cat")  # without a row, the check fails
    server, etc = installed.folder.parents[1], installed.folder.parents[1] / "etc/image-gateway"
    (server / "values").mkdir()
    for section, key in (("postgres", "dsn"), ("redis", "url"), ("cos", "secret_id"), ("cos", "secret_key")):
        (server / "values" / f"{section}__{key}").write_text(raw_settings[section].pop(key) + "\n")
    unpack, configure, switch = install_steps()
    (check,) = SWITCH.findall((ROOT / "docs/deployment.md").read_text(encoding="utf-8"))
    switch, check = (f"{unpack.splitlines()[0]}\n{step}" for step in (switch, check))
    on_server(server, f"cd image-gateway-{VERSION}\n{configure}")
    assert {path.name: f"{path.stat().st_mode & 0o7777:04o}" for path in (etc, *etc.rglob("*"))} == {
        "image-gateway": "0755",
        "gateway.yaml": "0640",
        "secrets": "0700",
        "postgres__dsn": "0600",
        "redis__url": "0600",
        "cos__secret_id": "0600",
        "cos__secret_key": "0600",
    }
    assert (server / "user").read_text().split()[-1] == "image-gateway"
    link = server / "opt/image-gateway"
    on_server(server, switch, version="9")
    assert link.readlink() == server / "opt/image-gateway-9"
    (etc / "gateway.yaml").write_text("bucket: misplaced")
    with pytest.raises(AssertionError, match=r"bucket: there is no such"):
        on_server(server, check)
    assert link.readlink() == server / "opt/image-gateway-9"
    (etc / "gateway.yaml").write_text(yaml.safe_dump(raw_settings))
    await asyncio.to_thread(on_server, server, check)  # meanwhile this loop runs COS
    assert link.readlink() == server / f"opt/image-gateway-{VERSION}"
    link.unlink()
    link.mkdir()  # as an earlier release was installed
    with pytest.raises(AssertionError, match="cannot overwrite directory"):
        on_server(server, switch)


def test_an_upgrade_installs_a_release_by_the_commands_of_the_installation() -> None:
    steps = install_steps()
    upgrade = (ROOT / "docs/deployment.md").read_text(encoding="utf-8").partition("## Upgrade and roll back")[2]
    for line in (*steps[0].splitlines()[1:], *steps[2].splitlines()):
        assert line in upgrade


async def test_the_installed_gateway_serves_images_pages_and_components(
    installed: Installed, raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path
) -> None:
    await images.add("cat", b"an image")
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    assert "CREATE OR REPLACE FUNCTION" in installed.run(installed.program, "sql", "changes", "--config", str(config))
    serve = gateway_process(
        "serve", "--config", str(config), cwd=tmp_path, program=("env", "-u", "PYTHONPATH", installed.program)
    )
    async with serve as running, aiohttp.ClientSession() as session:

        async def get(url: str) -> str:
            async with session.get(url) as answer:
                assert answer.status == 200, url
                return await answer.text()

        assert await get(running.public + "/i/cat") == "an image"
        assert "alive" in await get(running.public + "/healthz")
        assert "smart-image" in await get(running.public + "/static/smart-image.js")
        assert "/readyz" in await get(running.public + "/openapi.json")
        assert "<html" in await get(running.admin + "/docs")
        assert "<script" in await get(running.admin + "/")
        assert 'image_gateway_build_info{version="' in await get(running.admin + "/metrics")
        running.terminate()
        assert await running.exit_code() == 0
