"""The console in a real browser, in every state of the gateway."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from gateway.api import app_keys
from gateway.metrics.history import History
from gateway.presign.signed_image import ImageVariant
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.web.conftest import on_one_loop
from tests.web.test_looks import AXE

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"


@dataclass
class ConsolePage:
    """The page and what its console said."""

    page: Page
    errors: list[str] = field(default_factory=list)

    async def open(self, gateway: RunningGateway) -> None:
        await self.page.goto(gateway.ports.admin + "/")
        await expect(self.page.locator("#sentence")).not_to_be_empty()

    async def look(self, folder: Path, name: str) -> None:
        """Check accessibility in both schemes, and leave a screenshot of each: to look at, name ``--basetemp``."""
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            await self.page.evaluate(AXE.read_text(encoding="utf-8"))
            found = await self.page.evaluate("axe.run().then(({violations}) => violations)")
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
            await self.page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)


@on_one_loop()
async def console(browser: Browser) -> AsyncIterator[ConsolePage]:
    """A new page. An error in its console, such as a refusal by its policy, fails the test."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = await context.new_page()
    console = ConsolePage(page)
    page.on("pageerror", lambda error: console.errors.append(str(error)))
    page.on("console", lambda message: console.errors.append(message.text) if message.type == "error" else None)
    yield console
    await context.close()
    assert [one for one in console.errors if not one.startswith("Failed to load resource")] == []


async def test_a_gateway_that_serves_is_well(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes, tmp_path: Path
) -> None:
    await images.add("a", png)
    recorder = gateway.app[app_keys.HISTORY_RECORDER]
    await recorder.once()
    for _ in range(3):
        await gateway.get("/i/a")
    await recorder.once()
    await console.open(gateway)
    await expect(console.page.locator("#sentence")).to_have_text("All is well.")
    await expect(console.page.locator("#lights .good")).to_have_count(3)
    await expect(console.page.locator("#charts canvas")).to_have_count(7)
    await expect(console.page.locator("#replicas tbody tr")).to_have_count(1)
    await console.look(tmp_path, "serving")


async def test_the_charts_draw_the_points_of_the_chosen_time(
    console: ConsolePage, gateway: RunningGateway, tmp_path: Path
) -> None:
    now = time.time()
    metrics = gateway.app[app_keys.METRICS]
    past = History(metrics, now - 900)
    for step in range(1, 180):
        for number in range(20 + step % 30):
            metrics.requests.record("short", "stream", "502" if number > 45 else "200", 0.004 * number, None)
        metrics.url_cache_lookups.add(("local", "hit"), 30)
        metrics.url_cache_lookups.add(("redis", "miss"), 1 + step % 7)
        metrics.response_bytes.add(amount=100_000 * (1 + step % 5))
        past.record(now - 900 + 5 * step)

    async def add_past(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        body["data"]["points"] = {kind: [one.as_json() for one in getattr(past, kind)()] for kind in ("fine", "coarse")}
        await route.fulfill(response=answer, json=body)

    await console.page.route("**/monitoring/console?*", add_past)
    await console.open(gateway)
    drawn = """() => [...document.querySelectorAll("#charts canvas")].map((one) => one.toDataURL())"""
    await console.look(tmp_path, "charts")
    quarter = await console.page.evaluate(drawn)
    await console.page.select_option("#window", "60")
    await console.page.wait_for_function(f"(before) => ({drawn})()[0] !== before", arg=quarter[0])
    await console.page.unroute_all(behavior="wait")


async def test_a_gateway_without_redis_says_so_in_both_languages(
    console: ConsolePage, start_gateway: StartGateway, tmp_path: Path
) -> None:
    await console.open(await start_gateway(redis={"url": "redis://127.0.0.1:1"}))
    sentence = console.page.locator("#sentence")
    await expect(sentence).to_have_text("redis does not answer.")
    await expect(console.page.locator("#queue")).to_contain_text("Redis does not answer")
    await console.page.select_option("#language", "zh")
    await expect(sentence).to_have_text("redis 没有响应。")
    await expect(console.page.locator("html")).to_have_attribute("lang", "zh-CN")
    await console.page.set_viewport_size({"width": 360, "height": 740})
    assert await console.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    await console.look(tmp_path, "redis-away")


async def test_a_draining_gateway_says_so(console: ConsolePage, gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.app[app_keys.HEALTH].drain()
    await console.open(gateway)
    await expect(console.page.locator("#sentence")).to_have_text("The gateway is stopping.")
    await console.look(tmp_path, "draining")


async def test_failing_requests_are_the_sentence_and_the_errors_lead_to_their_explanation(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes, tmp_path: Path
) -> None:
    await images.add("a", png)
    images.cos.store.delete(gateway.app[app_keys.SETTINGS].cos.bucket, "objects/a.png")
    assert (await gateway.get("/i/a")).status == 404
    await gateway.app[app_keys.HISTORY_RECORDER].once()
    await console.open(gateway)
    await expect(console.page.locator("#sentence")).to_contain_text("NoSuchKey")
    await console.page.get_by_role("button", name="a", exact=True).click()
    await expect(console.page.locator("#notice")).to_have_text("This needs the admin token.")
    await console.page.fill("#token", ADMIN_TOKEN)
    await console.page.get_by_role("button", name="a", exact=True).click()
    await expect(console.page.locator("#explanation")).to_contain_text('"image_id": "a"')
    await console.look(tmp_path, "degraded")
    await console.page.reload()
    await expect(console.page.locator("#token")).to_have_value(ADMIN_TOKEN)


async def test_ten_thousand_hostile_dead_renewals_are_text_and_tried_again_once_confirmed(
    console: ConsolePage, gateway: RunningGateway, tmp_path: Path
) -> None:
    entry = json.dumps({"reason": HOSTILE, "at": time.time(), "attempts": 5})
    await gateway.app[app_keys.REDIS].client.hset(
        "image:refresh:dead", mapping={f"i{number}": entry for number in range(10_000)}
    )
    gateway.app[app_keys.METRICS].refresh_dead.set(10_000)
    await console.open(gateway)
    await expect(console.page.locator("#queue")).to_contain_text("10000 failed for good")
    await expect(console.page.locator("#dead tbody tr")).to_have_count(100)
    assert await console.page.locator("#dead img").count() == 0
    await expect(console.page.locator("#dead tbody tr").first).to_contain_text(HOSTILE)
    await console.look(tmp_path, "dead")
    await console.page.fill("#token", ADMIN_TOKEN)
    queue = gateway.app[app_keys.REFRESH_QUEUE]
    await console.page.click("#requeue")
    await console.page.get_by_role("button", name="Cancel").click()
    assert (await queue.lengths(time.time())).dead == 10_000
    await console.page.click("#requeue")
    await console.page.get_by_role("button", name="Go on").click()
    await expect(console.page.locator("#notice")).to_have_text("Done.")
    assert (await queue.lengths(time.time())).dead == 0
    assert await console.page.title() == "Image gateway"


async def test_the_log_is_switched_images_are_purged_and_the_configuration_has_no_secret(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await gateway.get("/i/a")
    await console.open(gateway)
    page = console.page
    await page.fill("#token", "wrong")
    await page.click("#debug")
    await expect(page.locator("#notice")).to_contain_text("Refused: unauthorized")
    await page.fill("#token", ADMIN_TOKEN)
    await page.click("#debug")
    await expect(page.locator("#level")).to_contain_text("at debug until")
    await page.click("#debug")
    await expect(page.locator("#level")).to_have_text("The log is at its configured level.")
    await page.fill("#id", "a")
    await page.click("#purge")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("#notice")).to_have_text("Done.")
    assert await gateway.app[app_keys.REFRESH_QUEUE].due_at(ImageVariant("a")) is None
    await page.click("#configuration summary")
    await expect(page.locator("#settings")).to_contain_text('"default_ttl": 3600')
    assert ADMIN_TOKEN not in await page.locator("#settings").inner_text()


async def test_the_page_of_the_api_is_readable_without_scripts(
    console: ConsolePage, gateway: RunningGateway, tmp_path: Path
) -> None:
    await console.page.goto(gateway.ports.admin + "/docs")
    await console.page.locator("summary", has_text="Responses").first.click()
    await console.look(tmp_path, "docs")


@pytest.mark.parametrize("hidden", [True, False])
async def test_a_hidden_page_does_not_poll(console: ConsolePage, gateway: RunningGateway, hidden: bool) -> None:
    await console.page.clock.install()
    await console.page.add_init_script(
        f"""Object.defineProperty(document, "hidden", {{get: () => window.away ?? false}});
            window.toAway = {json.dumps(hidden)};"""
    )
    await console.open(gateway)
    polls: list[str] = []
    console.page.on("request", lambda request: polls.append(request.url))
    await console.page.evaluate("window.away = window.toAway; document.dispatchEvent(new Event('visibilitychange'))")
    await console.page.wait_for_load_state("networkidle")
    before = len(polls)
    await console.page.clock.run_for(30_000)
    assert (len(polls) == before) is hidden
