"""The package as ``npm pack`` makes it, in a Vue application built by Vite."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import Images
from tests.serving import serving
from tests.web.conftest import Visit

pytestmark = pytest.mark.xdist_group("package")  # made once

WEB = Path(__file__).parents[2] / "gateway" / "web"
APP = Path(__file__).with_name("vue_app")
# The other dependencies of the application.
BESIDE = ("vue", "vite", "@vitejs", "@vue", "typescript")


def run(*command: str | Path, folder: Path) -> str:
    """Run a program; return its output."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked package."""
    folder = tmp_path_factory.mktemp("package")
    run("npm", "pack", "--pack-destination", folder, "--loglevel=error", folder=WEB)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="module")
def built_app(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built application; its types are checked first."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(APP, folder, dirs_exist_ok=True)
    modules = folder / "node_modules"
    (modules / "@image-gateway").mkdir(parents=True)
    shutil.copytree(package, modules / "@image-gateway" / "web")
    for name in BESIDE:
        (modules / name).symlink_to(WEB / "node_modules" / name)
    run("node", WEB / "node_modules/vue-tsc/bin/vue-tsc.js", folder=folder)
    run("node", WEB / "node_modules/vite/bin/vite.js", "build", "--logLevel", "error", folder=folder)
    return folder / "dist"


def test_the_package_contains_the_exported_files_and_nothing_else(package: Path) -> None:
    held = {file.relative_to(package).as_posix() for file in package.rglob("*") if file.is_file()}
    others = {name for name in held if not name.startswith("dist/")}
    assert others == {"README.md", "custom-elements.json", "package.json"}
    assert all(name.endswith((".js", ".d.ts")) for name in held - others)
    exports = json.loads((package / "package.json").read_text(encoding="utf-8"))["exports"]
    for name, targets in exports.items():
        for target in [targets] if isinstance(targets, str) else targets.values():
            assert target.removeprefix("./") in held, name


async def test_a_vue_application_displays_images(visit: Visit, images: Images, png: bytes, built_app: Path) -> None:
    await images.add("a", png)
    await images.add("b", png)

    async def index(request: web.Request) -> web.FileResponse:
        del request
        return web.FileResponse(built_app / "index.html")

    app = web.Application()
    app.router.add_get("/", index)
    app.router.add_static("/assets", built_app / "assets")
    page = visit.page
    async with serving(app) as address:
        await page.goto(f"{address}/?gateway={visit.gateway.ports.public}")
        await page.wait_for_function("document.querySelector('#told').textContent === 'loading, loaded, load'")
        assert await page.text_content("#state") == "loaded 1"
        await page.click("#ask")
        await page.wait_for_function("document.querySelector('#told').textContent.endsWith('url until true, cached 1')")
        await page.click("#other")
        await page.wait_for_function("document.querySelector('#told').textContent.includes('error not_found')")
        assert await page.text_content("#again") == "No picture: not_found"
        await page.click("#hide")
        await page.wait_for_function("!document.querySelector('smart-image')")
