"""Pictures without JavaScript, in Chromium, Firefox and WebKit: what the documents show and what servers render."""

import io
import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Images, RunningGateway, StartGateway
from tests.web.conftest import PASS_ON, Tab, on_one_loop

ROOT = Path(__file__).parents[2]
WEB = ROOT / "gateway" / "web"
DOCUMENTS = (
    "README.md",
    "README.zh-CN.md",
    "gateway/web/README.md",
    "gateway/web/README.zh-CN.md",
    "examples/plain/index.html",
)
HOST = re.compile(r"https://img\.example\.com|http://127\.0\.0\.1:8080")
ELEMENT = re.compile(r"<smart-image .*?</smart-image>", re.DOTALL)
STYLES = {"card": {"widths": [640, 1280], "formats": ["avif", "webp", "original"]}}
RENDER = """
import { createSSRApp, h } from "vue";
import { renderToString } from "vue/server-renderer";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import * as vue from "./vue.js";
import * as react from "./react.js";

const { baseUrl, variants, pictures } = JSON.parse(process.argv[2]);
for (const { configureSmartImage } of [vue, react]) configureSmartImage({ baseUrl, variants });
const made = [];
for (const props of pictures) {
  made.push(await renderToString(createSSRApp({ render: () => h(vue.SmartImage, props) })));
  made.push(renderToStaticMarkup(createElement(react.SmartImage, props)));
}
console.log(JSON.stringify(made));
"""
CAT: dict[str, object] = {"imageId": "cat-42", "alt": "A cat on a sofa"}
# A WebP of two pixels
TINY = "data:image/webp;base64,UklGRjQAAABXRUJQVlA4ICgAAABQAQCdASoCAAEABUB8JQBOgCgAAP7rSdSscZGJzI0wTTY/E3YGAAAA"
PICTURES = [
    CAT,
    {**CAT, "width": 320, "height": 240},
    {**CAT, "width": 320, "height": 240, "styleName": "card"},
    {**CAT, "width": 640, "height": 427, "styleName": "card", "widths": [640], "formats": ["webp"], "priority": True},
    {**CAT, "styleName": "card"},
    {**CAT, "width": 320, "height": 240, "styleName": "card", "lazy": True},
    {**CAT, "width": 320, "height": 240, "placeholder": TINY},
]


@pytest.fixture(scope="module")
def photo() -> bytes:
    """An image of 1200 by 900 pixels."""
    out = io.BytesIO()
    Image.new("RGB", (1200, 900), (200, 60, 40)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm package's modules, without types, and a script that renders pictures."""
    folder = tmp_path_factory.mktemp("modules")
    node("node_modules/vite/bin/vite.js", "build", "--outDir", folder, "--logLevel", "error", folder=WEB)
    (folder / "node_modules").symlink_to(WEB / "node_modules")
    imports = {"#hints": "./no-hints.js"}
    (folder / "package.json").write_text(json.dumps({"type": "module", "imports": imports}), encoding="utf-8")
    (folder / "render.mjs").write_text(RENDER, encoding="utf-8")
    return folder


@on_one_loop()
async def gateway(start_gateway: StartGateway, images: Images, photo: bytes) -> RunningGateway:
    """A gateway with the images of the documents."""
    for image_id in ("cat-42", "sunrise"):
        await images.add(image_id, photo, content_type="image/jpeg")
    return await start_gateway(**PASS_ON, image_styles=STYLES)


def node(*command: str | Path, folder: Path) -> str:
    """Run a script of Node; return its output."""
    done = subprocess.run(
        ("node", *command), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documented(base: str) -> list[str]:
    """Return each element of the documents' HTML that has an ``<img>`` inside."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    blocks = [block for text in texts for block in re.findall(r"```html\n(.*?)```", text, re.DOTALL) or [text]]
    found = {element for block in blocks for element in ELEMENT.findall(block) if "<img" in element}
    assert len(found) >= 3
    return sorted(HOST.sub(base, element) for element in found)


def rendered(package: Path, base: str, variants: object = STYLES) -> list[str]:
    """Return what the components of Vue (Nuxt) and React (Next.js) render on a server that knows these variants."""
    asked = {"baseUrl": base, "variants": variants, "pictures": PICTURES}
    made: list[str] = json.loads(node("render.mjs", json.dumps(asked), folder=package))
    assert len(made) == 2 * len(PICTURES)
    return made


async def test_what_documents_show_and_servers_render_is_seen_without_a_script(tab: Tab, package: Path) -> None:
    base = tab.front.url
    shown = [*documented(base), *rendered(package, base)]
    sections = "".join(f"<section><p>Above</p>{markup}<p>Below</p></section>" for markup in shown)
    sheet = f'<link rel="stylesheet" href="{base}/static/smart-image.css">'
    page = f'<meta name="viewport" content="width=device-width">{sheet}{sections}'
    for width in (800, 460):
        await tab.window.resize(width, 600)
        await tab.window.open(tab.site.put("/", f"<script>log = problems = []</script>{page}"))
        for number, markup in enumerate(shown):
            picture = f"document.querySelectorAll('section')[{number}].querySelector('img:not([slot])')"
            await tab.until(f"({picture}.scrollIntoView(), {picture}.naturalWidth)")
            seen = await tab.evaluate(
                f"""((img) => {{
                     const {{ x, y, width, height }} = img.getBoundingClientRect();
                     const points = [[0.5, 0.5], [0.02, 0.02], [0.98, 0.98]];
                     const found = points.map(([across, down]) =>
                       document.elementFromPoint(x + width * across, Math.min(y + height * down, innerHeight - 1)));
                     return [...found.map((element) => element === img), Math.min(width, height) > 200];
                   }})({picture})"""
            )
            assert seen == [True] * 4, markup


async def test_an_image_of_another_ratio_than_its_box_is_cut_before_the_script_too(tab: Tab, images: Images) -> None:
    """Otherwise the page moves when the element is defined."""
    out = io.BytesIO()
    Image.new("RGB", (400, 400), (20, 160, 40)).save(out, "PNG")
    await images.add("square", out.getvalue())
    base = tab.front.url
    sheet = f'<link rel="stylesheet" href="{base}/static/smart-image.css">'
    img = f'<img src="{base}/i/square" alt="" width="320" height="240">'
    element = f'<smart-image image-id="square" width="320" height="240">{img}</smart-image>'
    narrow = f'<div style="width: 160px">{element}</div>'
    await tab.window.open(tab.site.put("/", f"<script>log = problems = []</script>{sheet}{element}{narrow}"))
    await tab.until("document.readyState === 'complete' && [...document.images].every((img) => img.naturalWidth)")
    sizes = "[...document.querySelectorAll('smart-image')].map((image) => [image.offsetWidth, image.offsetHeight])"
    assert await tab.evaluate(sizes) == [[320, 240], [160, 120]]
    await tab.evaluate(f"import('{base}/static/smart-image.js').then(() => undefined)")
    await tab.until("[...document.querySelectorAll('smart-image')].every(({state}) => state === 'loaded')")
    assert await tab.evaluate(sizes) == [[320, 240], [160, 120]]


async def test_a_placeholder_that_a_server_renders_is_seen_until_the_picture_is(tab: Tab, package: Path) -> None:
    base = tab.front.url
    sheet = f'<link rel="stylesheet" href="{base}/static/smart-image.css">'
    size = "((img) => [img.naturalWidth, img.offsetWidth, img.offsetHeight])(document.querySelector('img[slot]'))"
    for number, markup in enumerate(rendered(package, base)[-2:]):
        release = tab.front.hold(f"/i/cat-42?{number}")
        held = markup.replace("/i/cat-42", f"/i/cat-42?{number}")
        await tab.window.open(tab.site.put("/", f"<script>log = problems = []</script>{sheet}<p>Below</p>"))
        # Later, since WebKit opens a page only when its images are there.
        await tab.evaluate(f"document.body.insertAdjacentHTML('afterbegin', {json.dumps(held)})")
        boxes = "new Set([...document.images].map((img) => JSON.stringify(img.getBoundingClientRect())))"
        await tab.until(f"{boxes}.size === 1 && `${{{size}}}` === '2,320,240'")
        module = f"import('{base}/static/smart-image.js')"
        await tab.evaluate(f"{module}.then(() => undefined)")
        assert await tab.evaluate(size) == [2, 320, 240], "the element shows it, too"
        release()
        await tab.until("document.querySelector('smart-image').state === 'loaded'")
        assert await tab.evaluate(size) == [2, 0, 0], "it is not behind a picture that is partly transparent"


async def test_a_server_that_does_not_know_the_style_renders_no_larger_picture_than_needed(
    tab: Tab, package: Path
) -> None:
    markup = "".join(rendered(package, tab.front.url, {})[4:6])  # of the third picture
    await tab.window.open(tab.site.put("/", f"<script>log = problems = []</script>{markup}"))
    await tab.until("[...document.images].every((img) => img.naturalWidth)")
    chosen = "[...document.images].map((img) => [new URL(img.currentSrc).search, img.naturalWidth])"
    assert await tab.evaluate(chosen) == [["?style=card&w=320", 640]] * 2


def test_react_preloads_a_picture_with_priority_from_the_head(package: Path) -> None:
    (priority,) = (markup for markup in rendered(package, "https://gw") if "priority" in markup and "preload" in markup)
    (link,) = re.findall(r"<link [^>]*>", priority)
    srcset = 'imageSrcSet="https://gw/i/cat-42?style=card&amp;w=640&amp;format=webp 640w"'
    for part in ('rel="preload" as="image"', 'type="image/webp"', 'fetchPriority="high"', srcset):
        assert part in link
