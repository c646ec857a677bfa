"""The package as ``npm pack`` makes it, and the applications in ``examples``, which use it, in Chromium."""

import asyncio
import gzip
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from aiohttp import web

from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.interface.described import ADVICE, changes_of, package_types
from tests.serving import serving
from tests.stories.test_variants import noise
from tests.waiting import until
from tests.web.conftest import PASS_ON, Visit, on_one_loop

pytestmark = pytest.mark.xdist_group("package")  # made once

ROOT = Path(__file__).parents[2]
WEB = ROOT / "gateway" / "web"
MODULES = WEB / "node_modules"
EXAMPLES = ROOT / "examples"
PAGES = Path(__file__).with_name("pages")  # built together with the examples
# The gateway that the examples use is the one of ``make run``.
GATEWAY_OF_EXAMPLES = b"http://127.0.0.1:8080"
STYLES = {"card": {"widths": [80, 160], "formats": ["webp"]}}


def run(*command: str | Path, folder: Path) -> str:
    """Run a program; return its output."""
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, made from a copy of the sources with the dependencies but nothing that was built."""
    folder = tmp_path_factory.mktemp("package")
    sources = folder / "web"
    shutil.copytree(WEB, sources, ignore=shutil.ignore_patterns("node_modules", "dist", "static", "console"))
    (sources / "node_modules").symlink_to(MODULES)
    run("npm", "pack", "--pack-destination", folder, "--loglevel=error", folder=sources)
    (made,) = folder.glob("*.tgz")
    return made


@pytest.fixture(scope="module")
def package(archive: Path) -> Path:
    """The unpacked package."""
    with tarfile.open(archive) as packed:
        packed.extractall(archive.parent, filter="data")
    return archive.parent / "package"


@pytest.fixture(scope="module")
def applications(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples and the pages of this folder with all dependencies."""
    folder = tmp_path_factory.mktemp("examples")
    for source in (EXAMPLES, PAGES):
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "dist"))
    modules = folder / "node_modules"
    shutil.copytree(package, modules / "@image-gateway" / "web")
    for entry in MODULES.iterdir():
        (modules / entry.name).symlink_to(entry)
    return folder


@pytest.fixture(scope="module")
def built(applications: Path) -> dict[str, bytes]:
    """The files of the built applications by path."""
    run("node", "node_modules/vite/bin/vite.js", "build", "--logLevel", "error", folder=applications)
    made = applications / "dist"
    return {f"/{file.relative_to(made)}": file.read_bytes() for file in made.rglob("*") if file.is_file()}


def test_the_package_contains_the_exported_files_and_nothing_else(package: Path) -> None:
    held = {file.relative_to(package).as_posix() for file in package.rglob("*") if file.is_file()}
    others = {name for name in held if not name.startswith("dist/")}
    texts = {"CHANGELOG.md", "README.md", "README.zh-CN.md", "VUE.md"}
    assert others == {"custom-elements.json", "package.json", "smart-image.css"} | texts
    component = "dist/svelte/SmartImage.svelte"
    maps = {name for name in held if name.endswith(".js.map")}
    assert all(name.endswith((".js", ".d.ts")) for name in held - others - maps - {component})
    assert maps <= {f"{name}.map" for name in held if name.endswith(".js")}
    (source,) = json.loads((package / "dist" / "core" / "retry.js.map").read_text(encoding="utf-8"))["sourcesContent"]
    assert source == (WEB / "src" / "core" / "retry.ts").read_text(encoding="utf-8"), "debuggers show the sources"
    manifest = json.loads((package / "package.json").read_text(encoding="utf-8"))
    version = manifest["version"].partition("-")[0]
    assert f"\n## [{version}] - " in (package / "CHANGELOG.md").read_text(encoding="utf-8")
    for name, targets in manifest["exports"].items():
        for target in [targets] if isinstance(targets, str) else targets.values():
            assert target.removeprefix("./") in held, name
    # Next.js runs such a file in the browser too.
    assert (package / "dist" / "react.js").read_text(encoding="utf-8").startswith('"use client"')


def test_publint_and_attw_accept_the_package(archive: Path) -> None:
    run("node", MODULES / "publint/src/cli.js", "run", "--strict", archive, folder=WEB)
    arguments = ("--quiet", "--profile", "esm-only", "--exclude-entrypoints", "custom-elements.json", "smart-image.css")
    run("node", MODULES / "@arethetypeswrong/cli/dist/index.js", archive, *arguments, folder=WEB)


# Gzipped, without what Vite adds to pages that load modules on demand. Calls of `imageProxy` load 3 kB more, once.
@pytest.mark.parametrize(
    ("module", "name", "most"),
    [
        ("addresses", "proxyAddress", 512),
        ("retry", "Retrier", 768),
        ("monitor", "Monitor", 1536),
        ("vue", "useImageRetry", 768),
        ("vue", "useImageMonitoring", 1536),
        ("vue", "useImage", 1024),
        ("vue", "imageProxy", 1024),
    ],
)
def test_an_application_pays_for_what_it_imports_alone(applications: Path, module: str, name: str, most: int) -> None:
    folder = applications / f"{module}-{name}"
    folder.mkdir()
    (folder / "entry.js").write_text(f'export {{ {name} }} from "@image-gateway/web/{module}";\n', encoding="utf-8")
    options = ("--external", "vue", "--minify", "--entry-file-names", "made.js", "--dir", "dist")
    run("node", "../node_modules/rolldown/bin/cli.mjs", "entry.js", *options, folder=folder)
    made = (folder / "dist" / "made.js").read_bytes()
    assert name.encode() in made
    assert len(gzip.compress(made)) <= most


def test_typescript_knows_the_element_in_react_preact_and_vue(applications: Path) -> None:
    run("node", MODULES / "vue-tsc/bin/vue-tsc.js", folder=applications)


def test_the_exported_types_are_what_was_promised(package: Path) -> None:
    changes = changes_of("package-types", package_types(package / "dist" / "types"))
    assert not changes, "\n".join([ADVICE, *changes])


def test_typescript_ignores_frameworks_that_are_not_installed(package: Path, tmp_path: Path) -> None:
    shutil.copytree(package, tmp_path / "node_modules" / "@image-gateway" / "web")
    shutil.copy(PAGES / "types" / "dom.ts", tmp_path)
    shutil.copy(EXAMPLES / "tsconfig.json", tmp_path)
    # Checks the declarations of the package too, but not TypeScript's own.
    options = ("--skipLibCheck", "false", "--skipDefaultLibCheck")
    run("node", MODULES / "typescript/bin/tsc", *options, folder=tmp_path)
    # As applications that have not changed the resolution of TypeScript 4.
    older = ("--moduleResolution", "node10", "--ignoreDeprecations", "6.0")
    run("node", MODULES / "typescript/bin/tsc", *options, *older, folder=tmp_path)


def test_no_example_has_more_than_60_lines() -> None:
    for name in ("plain", "react", "vue"):
        lines = [file.read_text(encoding="utf-8").count("\n") for file in (EXAMPLES / name).iterdir()]
        assert 10 < sum(lines) < 60, name


@on_one_loop()
async def gateway(start_gateway: StartGateway, images: Images, png: bytes) -> RunningGateway:
    """A gateway with two images of the examples, and their style."""
    for image_id in ("sunrise", "poster-large"):
        await images.add(image_id, png)
    return await start_gateway(**PASS_ON, image_styles=STYLES)


def site_of(built: dict[str, bytes], gateway: RunningGateway) -> web.Application:
    """The built applications, with another gateway."""

    async def answer(request: web.Request) -> web.Response:
        path = request.path + ("index.html" if request.path.endswith("/") else "")
        body = built.get(path)
        if body is None:
            raise web.HTTPNotFound
        kind = "text/javascript" if path.endswith(".js") else "text/html"
        body = body.replace(GATEWAY_OF_EXAMPLES, gateway.ports.public.encode())
        return web.Response(body=body, content_type=kind, charset="utf-8")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app


async def test_the_examples_display_images_and_say_what_fails(visit: Visit, built: dict[str, bytes]) -> None:
    state = "document.querySelector('output')?.textContent"
    shown = "document.querySelector('smart-image').currentSrc"
    async with serving(site_of(built, visit.gateway)) as address:
        for name, ending in (("plain", ""), ("react", "?style=card"), ("vue", "?style=card")):
            await visit.page.goto(f"{address}/{name}/")
            await visit.page.wait_for_function(f"{state} === 'loaded' && {shown}.includes('/i/sunrise{ending}')")
            await visit.page.click("#next")
            await visit.page.wait_for_function(f"{state} === 'loaded' && {shown}.includes('/i/poster-large{ending}')")
            await visit.page.evaluate(
                "window.states = []; document.querySelector('smart-image')"
                ".addEventListener('statechange', ({ detail }) => states.push(detail.to))"
            )
            await visit.page.click("#reload")
            await visit.page.wait_for_function("states.join() === 'loading,loaded'")
            await visit.page.wait_for_function(f"{state} === 'loaded'")
            await visit.page.click("#next")
            await visit.page.wait_for_function(f"{state} === 'failed'")
            await visit.page.click("#next")
            await visit.page.wait_for_function(f"{state} === 'loaded'")


@pytest.mark.parametrize("name", ["react", "vue"])
async def test_a_browser_without_the_element_displays_what_an_application_changes(
    visit: Visit, built: dict[str, bytes], name: str
) -> None:
    shown = "document.querySelector('smart-image img').currentSrc"
    await visit.page.add_init_script("delete AbortSignal.any")
    async with serving(site_of(built, visit.gateway)) as address:
        await visit.page.goto(f"{address}/{name}/")
        for image_id in ("sunrise", "poster-large"):
            await visit.page.wait_for_function(f"{shown}.includes('/i/{image_id}?style=card')")
            await visit.page.click("#next")


# In the order of their texts.
HINTS = (
    '<smart-image image-id="poster-large"> is 400 pixels wide, and the browser chose a file for another width',
    '<smart-image image-id="sunrise"> is the largest picture of the first screen',
    '<smart-image image-id="elsewhere"> was asked for at the page\'s own origin',
    '<smart-image image-id="doubted"> was refused to strangers',
)


async def give_cause_for_hints(visit: Visit) -> None:
    """Show pictures without ``sizes``, behind a cookie that is not sent, and of a gateway that nobody named."""
    refused = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Vary", "Vary": "Cookie"}
    await visit.page.route("**/i/doubted*", lambda route: route.fulfill(status=404, headers=refused))
    await visit.page.evaluate(
        """() => {
          const add = (markup) => document.body.insertAdjacentHTML("beforeend", markup);
          add('<smart-image image-id="doubted" alt="" max-retries="0"></smart-image>');
          add('<smart-image image-id="poster-large" style-name="card" widths="80 160" width="80"></smart-image>');
          document.body.lastElementChild.style.width = "400px";
        }"""
    )
    await visit.page.wait_for_selector("[image-id=doubted]:state(failed)", state="attached")
    await visit.page.evaluate(
        """() => {
          delete globalThis[Symbol.for("smart-image")][0].baseUrl;
          document.body.insertAdjacentHTML("beforeend", '<smart-image image-id="elsewhere" alt=""></smart-image>');
        }"""
    )


async def test_hints_are_for_developers(
    visit: Visit, images: Images, applications: Path, built: dict[str, bytes]
) -> None:
    """Chromium takes a picture of few bytes for no largest paint."""
    images.cos.store.put(BUCKET, "objects/sunrise.png", noise(160), content_type="image/png")
    made = applications / "development"
    vite = ("node", "node_modules/vite/bin/vite.js", "build", "--logLevel", "error", "--outDir", made)
    await asyncio.to_thread(run, "env", "NODE_ENV=development", *vite, folder=applications)
    development = {f"/{file.relative_to(made)}": file.read_bytes() for file in made.rglob("*") if file.is_file()}
    warnings: list[str] = []
    visit.page.on("console", lambda message: warnings.append(message.text) if "smart-image" in message.text else None)
    for files in (built, development):
        async with serving(site_of(files, visit.gateway)) as address:
            await visit.page.goto(f"{address}/vue/")
            await visit.page.wait_for_function("document.querySelector('output')?.textContent === 'loaded'")
            assert files is development or not warnings
            if files is development:
                await until(lambda: warnings)
                await give_cause_for_hints(visit)
                await until(lambda: len(warnings) >= len(HINTS))
    warnings.sort(key=lambda hint: hint.partition("> ")[2])
    assert [hint[: len(text)] for hint, text in zip(warnings, HINTS, strict=True)] == list(HINTS)
    assert not [name for name, body in built.items() if b"the largest picture of the first screen" in body]


async def test_react_removes_and_hydrates_what_the_element_changes(visit: Visit, built: dict[str, bytes]) -> None:
    page = visit.page
    async with serving(site_of(built, visit.gateway)) as address:
        await page.goto(f"{address}/hydrated/")
        await page.wait_for_function("document.querySelector('smart-image')?.state === 'loaded'")
        markup = await page.evaluate("markup")
        card = re.escape(f"{visit.gateway.ports.public}/i/sunrise?style=card&amp;w=80&amp;format=webp 80w")
        assert re.search(f'<picture><source type="image/webp" [^>]*srcset="{card}', markup)
        assert await page.evaluate("document.querySelector('picture > img').alt") == 'A "quoted" <text> & more'
        # Another source, so that the element changes the picture before React sees it.
        await page.evaluate("document.querySelector('smart-image').version = '2'")
        await page.wait_for_function("document.querySelector('source').srcset.includes('v=2')")
        await page.evaluate("hydrate()")
        for step, shown in enumerate(("/i/poster-large?style=card", "/i/poster-large?style=card", "q-sign"), 1):
            await page.click("button")
            await page.wait_for_function(f"document.querySelector('output').textContent === '{step}'")
            await page.wait_for_function(f"document.querySelector('smart-image.shown').currentSrc.includes('{shown}')")
        assert await page.evaluate("problems") == []


@pytest.mark.parametrize(
    ("image_id", "state", "shown"),
    [("missing", "failed", "textContent === 'not_found'"), ("sunrise", "loaded", "querySelector('img').naturalWidth")],
)
async def test_vue_hydrates_what_has_been_loaded_or_failed_before(
    visit: Visit, built: dict[str, bytes], image_id: str, state: str, shown: str
) -> None:
    """A component in an asynchronous part of a page is hydrated after others have defined the element."""
    async with serving(site_of(built, visit.gateway)) as address:
        for mode in ("proxy", "url"):
            await visit.page.goto(f"{address}/hydrated/")
            props = {"imageId": image_id, "alt": "", "mode": mode}
            await visit.page.evaluate("(props) => renderVueImage(props)", props)
            await visit.state("#vue smart-image", state)
            await visit.page.evaluate("(props) => hydrateVueImage(props)", props)
            await visit.page.wait_for_function(f"document.querySelector('#vue smart-image').{shown}")
