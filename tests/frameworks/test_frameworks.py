"""The package in applications of frameworks, as npm installs it; their dependencies are downloaded."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import async_playwright

from gateway_dev.processes import free_port
from tests.conftest import Images, StartGateway
from tests.serving import serving
from tests.stories.test_variants import photo
from tests.waiting import until
from tests.web.browser import running_chromium
from tests.web.test_package import EXAMPLES, STYLES, site_of

APPLICATIONS = Path(__file__).parent
WEB = Path(__file__).parents[2] / "gateway" / "web"
NEXT = ("next@16.4.6", "react@19.3.1", "react-dom@19.3.1", "@types/react@19.3.3", "@types/node@20", "typescript@6.0.3")
SVELTEKIT = ("@sveltejs/kit@2", "@sveltejs/vite-plugin-svelte@7", "svelte@5", "vite@8")
NUXT = ("nuxt@4.4.5", "@nuxt/image@2.1.0", "vue@3.5.45", "vue-tsc@3.3.14", "typescript@6.0.3")
CARD = "http://127.0.0.1:8080/i/sunrise?style=card&w=320"
LINKED = "http://127.0.0.1:8080/i/poster-large?kid=k&exp=9&sig=s&style=card&w=640"

pytestmark = pytest.mark.timeout(1200)


def run(*command: str | Path, folder: Path) -> None:
    """Run a program; show its output if it fails."""
    quiet = {"NEXT_TELEMETRY_DISABLED": "1", "NUXT_TELEMETRY_DISABLED": "1", "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | quiet,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that ``npm pack`` makes in a fresh clone: without dependencies and anything that was built."""
    folder = tmp_path_factory.mktemp("package")
    sources = folder / "web"
    shutil.copytree(WEB, sources, ignore=shutil.ignore_patterns("node_modules", "dist", "static", "console"))
    run("npm", "pack", "--pack-destination", folder, folder=sources)
    (made,) = folder.glob("*.tgz")
    return made


def installed(name: str, folder: Path, *packages: str | Path, source: Path = APPLICATIONS) -> Path:
    """Copy the application into ``folder`` and install the packages, and those that its ``package.json`` names."""
    application = folder / name
    shutil.copytree(source / name, application)
    if not (application / "package.json").exists():
        (application / "package.json").write_text('{"private": true, "type": "module"}\n', encoding="utf-8")
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages, folder=application)
    return application


@asynccontextmanager
async def answering(*command: str, folder: Path) -> AsyncIterator[str]:
    """Run the server of an application; yield its address."""
    port = free_port()
    options = ("--port", str(port), "--host", "127.0.0.1") if command[-1] == "preview" else ()
    server = await asyncio.create_subprocess_exec(
        *(*command, *options),
        cwd=folder,
        env=os.environ | {"HOST": "127.0.0.1", "PORT": str(port)},
        stdin=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}/"

    async def is_answering() -> bool:
        try:
            return bool(await page_at(address))
        except aiohttp.ClientConnectorError:
            return False

    try:
        await until(is_answering)
        yield address
    finally:
        server.kill()
        await server.wait()


async def page_at(address: str) -> str:
    """Return the page without its scripts."""
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        return addresses_in(await response.text())


def addresses_in(page: str) -> str:
    """Return the markup of a page without its scripts, as a browser reads it."""
    return unescape(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def test_next_builds_an_application_and_renders_the_image(archive: Path, tmp_path: Path) -> None:
    application = installed("next", tmp_path, *NEXT, archive)
    run("node", "node_modules/next/dist/bin/next", "build", folder=application)
    page = addresses_in((application / ".next/server/app/index.html").read_text(encoding="utf-8"))
    assert re.search(r'<smart-image image-id="sunrise" style-name="card"[^>]*><picture><source type="image/webp"', page)
    assert f"{CARD}&format=webp 320w" in page
    assert LINKED in page


async def test_nuxt_builds_an_application_with_the_module_and_renders_the_images(archive: Path, tmp_path: Path) -> None:
    application = installed("nuxt", tmp_path, *NUXT, archive)
    for command in ("typecheck", "build"):
        run("node", "node_modules/@nuxt/cli/bin/nuxi.mjs", command, folder=application)
    async with answering("node", ".output/server/index.mjs", folder=application) as address:
        made = await page_at(address)
    assert re.search(r'<smart-image image-id="sunrise"[^>]*><picture><source type="image/webp"', made)
    assert f"{CARD}&format=webp 320w" in made
    (preload,) = re.findall(r'<link [^>]*rel="preload"[^>]*as="image"[^>]*>', made.partition("</head>")[0])
    assert f"{CARD}&format=webp 320w" in preload
    assert f"{LINKED}&format=webp 640w" in made
    assert f"{LINKED}&format=original 640w" in made


async def test_sveltekit_renders_an_image_that_its_pages_keep(
    archive: Path, tmp_path: Path, start_gateway: StartGateway, images: Images
) -> None:
    """The element is defined, and the tags of the server upgraded, before the layout configures the gateway."""
    for image_id in ("sunrise", "poster-large"):
        await images.add(image_id, photo(80, 60), content_type="image/jpeg")
    gateway = await start_gateway(image_styles=STYLES)
    application = await asyncio.to_thread(installed, "sveltekit", tmp_path, *SVELTEKIT, archive)
    for source in (application / "src").rglob("*.svelte"):
        text = source.read_text(encoding="utf-8")
        source.write_text(text.replace("http://127.0.0.1:8080", gateway.ports.public), encoding="utf-8")
    await asyncio.to_thread(run, "node", "node_modules/vite/bin/vite.js", "build", folder=application)
    state = "document.querySelector('output').textContent"
    shown = "document.querySelector('smart-image').currentSrc"
    with running_chromium() as chromium:
        async with (
            answering("node", "node_modules/vite/bin/vite.js", "preview", folder=application) as address,
            async_playwright() as playwright,
        ):
            made = await page_at(address)
            assert re.search(
                r'<smart-image image-id="sunrise"[^>]*><!--.*?<picture><!--.*?<source type="image/webp"', made
            )
            (preload,) = re.findall(r'<link [^>]*rel="preload"[^>]*as="image"[^>]*>', made.partition("</head>")[0])
            assert f"{gateway.ports.public}/i/sunrise?style=card&w=80&format=webp 80w" in preload
            page = await (await playwright.chromium.connect_over_cdp(chromium)).new_page()
            problems: list[str] = []
            asked: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            await page.goto(address)
            for selector in ("smart-image", "#tag"):
                await page.wait_for_function(f"document.querySelector('{selector}').state === 'loaded'")
            assert len([url for url in asked if "/i/sunrise" in url and "format=webp" in url]) == 1
            background = "document.querySelector('p').style.backgroundImage"
            assert "/i/sunrise?style=card&w=80" in await page.evaluate(background)
            await page.click("#next")
            await page.wait_for_function(f"{state} === 'loaded' && {shown}.includes('/i/poster-large?style=card')")
            await page.click("#next")
            await page.wait_for_function(f"{state} === 'failed'")
            assert problems == []


@pytest.mark.parametrize("name", ["svelte", "angular", "astro"])
async def test_an_example_displays_images_and_says_what_fails(
    archive: Path, tmp_path: Path, start_gateway: StartGateway, images: Images, name: str
) -> None:
    application = await asyncio.to_thread(installed, name, tmp_path, archive, source=EXAMPLES)
    await asyncio.to_thread(run, "npm", "run", "build", folder=application)
    made = application / "dist"
    built = {f"/{file.relative_to(made)}": file.read_bytes() for file in made.rglob("*") if file.is_file()}
    for image_id in ("sunrise", "poster-large"):
        await images.add(image_id, photo(80, 60), content_type="image/jpeg")
    gateway = await start_gateway(image_styles=STYLES)
    state = "document.querySelector('output')?.textContent"
    shown = "document.querySelector('smart-image').currentSrc"
    with running_chromium() as chromium:
        async with serving(site_of(built, gateway)) as address, async_playwright() as playwright:
            page = await (await playwright.chromium.connect_over_cdp(chromium)).new_page()
            problems: list[str] = []
            page.on("pageerror", lambda error: problems.append(str(error)))
            await page.goto(f"{address}/")
            await page.wait_for_function(f"{state} === 'loaded' && {shown}.includes('/i/sunrise?style=card')")
            await page.click("#next")
            await page.wait_for_function(f"{state} === 'loaded' && {shown}.includes('/i/poster-large?style=card')")
            await page.evaluate(
                "window.states = []; document.querySelector('smart-image')"
                ".addEventListener('statechange', ({ detail }) => states.push(detail.to))"
            )
            await page.click("#reload")
            await page.wait_for_function("states.join() === 'loading,loaded'")
            await page.click("#next")
            await page.wait_for_function(f"{state} === 'failed'")
            assert problems == []
