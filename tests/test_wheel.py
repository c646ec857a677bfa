"""The wheel, installed into a separate environment outside of the checkout: every file that runs comes from it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aiohttp
import pytest
import yaml

from tests.conftest import Images
from tests.processes import gateway_process

# The wheel is built once; building and starting take their time on a busy machine.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).parents[1]

# No variable of this process may lead to the checkout.
ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
import gateway
for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print("\\n".join(sorted({one.__file__ for name, one in sys.modules.items() if name.split(".")[0] == "gateway"})))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel: its folder, and the names of the files in the wheel."""

    folder: Path
    files: list[str]

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
    """The wheel as the documents build it, without its dependencies: those of this environment are used.

    Nothing is downloaded. A ``.pth`` file names the folder of the dependencies; Python does not read the ``.pth`` files
    in there, among which is the one that leads to the checkout.
    """
    source, dist, venv = (tmp_path_factory.mktemp("wheel") / name for name in ("source", "dist", "venv"))
    ignored = shutil.ignore_patterns("node_modules", "__pycache__")
    shutil.copytree(ROOT / "gateway", source / "gateway", ignore=ignored)  # a build writes into its source folder
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    offline = ("--no-deps", "--no-index")
    wheel = (*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(dist), str(source))
    subprocess.run(wheel, check=True, timeout=50, cwd=dist.parent)
    (built,) = dist.iterdir()
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", str(venv)), check=True, timeout=50)
    install = ("--python", str(venv / "bin" / "python"), "install", *offline, "--no-compile", str(built))
    subprocess.run((*pip, *install), check=True, timeout=50)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with ZipFile(built) as archive:
        return Installed(venv, archive.namelist())


def test_every_module_is_imported_from_the_wheel(installed: Installed) -> None:
    output = installed.run(str(installed.folder / "bin" / "python"), "-I", "-c", IMPORT_EVERYTHING)
    files = [Path(line) for line in output.splitlines()]
    assert len(files) > 200
    assert [file for file in files if installed.folder not in file.parents] == []


def test_the_wheel_has_every_file_that_runs_and_no_other(installed: Installed) -> None:
    shipped = {name for name in installed.files if name.startswith("gateway/")}
    assert {name for name in installed.files if ".dist-info/" not in name} == shipped
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "gateway").rglob("*.py") if "web" not in file.parts}
    assert {name for name in shipped if name.endswith(".py")} == modules
    assert {"gateway/py.typed", "gateway/catalog/sql/changes.sql", "gateway/web/static/smart-image.js"} <= shipped
    assert [
        name
        for name in shipped
        if name.startswith("gateway/web/") and "/static/" not in name and "/console/" not in name
    ] == []


def test_the_installed_command_has_the_version_of_setup_cfg(installed: Installed) -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    version = setup["metadata"]["version"]
    assert installed.run(installed.program, "--version") == f"image-gateway, version {version}\n"
    assert {"check", "dev", "explain", "serve", "sql"} <= set(installed.run(installed.program, "--help").split())


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
        assert "smart-image." in await get(running.public + "/static/smart-image.js")
        assert "/readyz" in await get(running.public + "/openapi.json")
        assert "<html" in await get(running.admin + "/docs")
        assert "<script" in await get(running.admin + "/")
        assert 'image_gateway_build_info{version="' in await get(running.admin + "/metrics")
        running.terminate()
        assert await running.exit_code() == 0
