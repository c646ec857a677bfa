"""``<smart-image>`` of one version on pages with images of a gateway of the other."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web
from playwright.async_api import Page, async_playwright

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, token_for
from tests.limits import LIMIT
from tests.nginx.test_rolling_restart import RawSettings
from tests.processes import GATEWAY, gateway_process
from tests.serving import serving
from tests.upgrade.conftest import ROOT, Release
from tests.upgrade.test_rolling import RED
from tests.waiting import until
from tests.web.browser import page_of, running_chromium

pytestmark = pytest.mark.usefixtures("forked_commands")

BODY = """
<smart-image id="public" image-id="public" alt=""></smart-image>
<smart-image id="private" image-id="private" mode="url" alt=""></smart-image>
<smart-image id="style" image-id="public" style-name="card" width="8" alt=""></smart-image>
<smart-image id="flaky" image-id="flaky" retry-delay="10" alt=""></smart-image>
<smart-image id="missing" image-id="missing" alt=""></smart-image>
<script>
  window.problems = [];
  addEventListener("error", ({message}) => message && problems.push(message));
  addEventListener("unhandledrejection", ({reason}) => problems.push(String(reason)));
</script>
<script type="module">
  import {configureSmartImage, imageProxy} from "/static/smart-image.js";
  configureSmartImage({baseUrl: "BASE", getToken: () => "TOKEN", monitor: {sample: 1}});
  window.called = (async () => [
    (await imageProxy.url("private")).url, (await imageProxy.refresh("public")).url,
    (await imageProxy.batch(["public", "private"])).size, (await imageProxy.meta("public")).image_id,
    imageProxy.proxyUrl("public"),
  ])();
</script>
"""
STATES = "() => Object.fromEntries([...document.querySelectorAll('smart-image')].map((it) => [it.id, it.state]))"
# The collector of reports is loaded on demand, and asks whether this gateway takes them.
ASKED = "() => performance.getEntriesByType('resource').some(({name}) => name.includes('config.json'))"
BEACONS = re.compile(r'^image_gateway_client_beacons_total\{result="(\w+)"\} [1-9]', re.MULTILINE)
HIDE = """
  Object.defineProperty(document, "hidden", {value: true, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
"""


@asynccontextmanager
async def opened(html: str, static: Path) -> AsyncIterator[Page]:
    """A page in Chromium, on an origin that has the component of the folder ``static``."""
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=page_of(html), content_type="text/html")

    app.router.add_get("/", page)
    app.router.add_static("/static", static)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving(app))
        address = stack.enter_context(running_chromium())
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.connect_over_cdp(address)
        opened_page = await browser.new_page()
        await opened_page.goto(site)
        yield opened_page


@pytest.mark.parametrize("is_old_gateway", [True, False], ids=["old gateway", "old component"])
async def test_a_page_shows_images_while_component_and_gateway_are_of_two_versions(
    previous: Release,
    raw_settings: RawSettings,
    images: Images,
    cos: CosEmulator,
    tmp_path: Path,
    is_old_gateway: bool,
) -> None:
    """Public and private images, styles, an image that fails at first, a missing one, the calls, and beacons."""
    await images.add("public", RED, owner="alice")
    await images.add("private", RED, public=False, owner="alice")
    await images.add("flaky", RED)
    raw_settings["image_styles"] = {
        "card": {"process": "imageMogr2/thumbnail/{width}x>", "widths": [4, 8], "formats": ["webp"]}
    }
    raw_settings["image_proxy"]["retry_count"] = 0
    cos.faults.add(Fault(key="objects/flaky.png", action=Refuse(status=500)))
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    program, tree = (previous.gateway, ROOT) if is_old_gateway else (GATEWAY, previous.tree)
    async with gateway_process("serve", "--config", str(config), program=program) as running:
        html = BODY.replace("BASE", running.public).replace("TOKEN", token_for("alice"))
        async with opened(html, tree / "gateway" / "web" / "static") as page:
            shown = dict.fromkeys(("public", "private", "style", "flaky"), "loaded") | {"missing": "failed"}

            async def are_shown() -> bool:
                return dict(await page.evaluate(STATES)) == shown

            await until(are_shown, what="the images")
            private, public, count, described, address = await page.evaluate("called")
            assert private.startswith(f"http://127.0.0.1:{cos.port}/objects/private.png?")
            assert public.startswith(f"http://127.0.0.1:{cos.port}/objects/public.png?")
            assert (count, described, address) == (2, "public", f"{running.public}/i/public")

            await page.wait_for_function(ASKED, timeout=LIMIT * 1000)
            results: list[str] = []

            async def is_reported() -> bool:
                await page.evaluate(HIDE)
                async with aiohttp.ClientSession() as session, session.get(f"{running.admin}/metrics") as answer:
                    results[:] = BEACONS.findall(await answer.text())
                return bool(results)

            await until(is_reported, what="the beacons")
            assert results == ["accepted"]
            assert await page.evaluate("problems") == []
