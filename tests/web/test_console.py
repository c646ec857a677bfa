"""The console in a real browser, in every state of the gateway."""

import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from gateway.metrics.canary import CanaryOutcome
from gateway.metrics.history import History
from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, RunningGateway, StartGateway
from tests.web.conftest import on_one_loop
from tests.web.test_looks import AXE

HOSTILE = "<img src=x onerror=\"document.title='broken'\">"
CHARTS = 8
CONSOLE = Path("gateway/web/console")


@dataclass
class ConsolePage:
    """The page and what its console said. Screenshots go into the folder ``pictures``, if there is one."""

    page: Page
    pictures: Path | None
    errors: list[str] = field(default_factory=list)

    async def open(self, gateway: RunningGateway, *, token: str = "") -> None:
        await self.page.goto(gateway.ports.admin + "/")
        await expect(self.page.locator("#sentence")).not_to_be_empty()
        if token:
            await self.give(token)

    async def give(self, token: str) -> None:
        """Fill in the token; one that the gateway accepts goes behind a key."""
        if await self.page.locator("#token").is_hidden():
            await self.page.click("#key")
        await self.page.fill("#token", token)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def says(self, text: str | re.Pattern[str]) -> None:
        await expect(self.page.locator("#notice")).to_have_text(text)

    async def look(self, name: str) -> None:
        """Check accessibility in both schemes, and take a picture of each."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        for scheme, rules in (("light", "{}"), ("dark", "{runOnly: ['color-contrast']}")):
            await self.page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
            found = await self.page.evaluate(f"axe.run({rules}).then(({{violations}}) => violations)")
            assert [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found] == []
            await self.take_picture(self.page, f"{name}-{scheme}")

    async def take_picture(self, page: Page, name: str) -> None:
        """Take a screenshot of the whole page if somebody wants to look at it."""
        if self.pictures is not None:
            await page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    async def look_on_a_phone(self, name: str) -> None:
        """As ``look``, on a narrow screen, which the page must fit."""
        await self.page.set_viewport_size({"width": 360, "height": 740})
        fits = """() => {
          const width = document.documentElement.clientWidth;
          const cards = [...document.querySelectorAll(".card, figure")];
          return cards.every((card) => card.getBoundingClientRect().right < width)
            && document.documentElement.scrollWidth <= width;
        }"""
        assert await self.page.evaluate(fits)
        await self.look(f"{name}-phone")


@on_one_loop()
async def console(
    browser: Browser,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    start_gateway: StartGateway,
) -> AsyncIterator[ConsolePage]:
    """A new page, which ends before the gateways. Errors in its console, as by its policy, fail the test.

    Screenshots take a sixth of the processor time of these tests. To look at them, name a folder with ``--basetemp``,
    and run the tests in one process.
    """
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = await context.new_page()
    wants_pictures = request.config.getoption("basetemp") and not hasattr(request.config, "workerinput")
    console = ConsolePage(page, tmp_path if wants_pictures else None)
    page.on("pageerror", lambda error: console.errors.append(str(error)))
    page.on("console", lambda message: console.errors.append(message.text) if message.type == "error" else None)
    yield console
    await page.unroute_all(behavior="wait")
    await context.close()
    assert [line for line in console.errors if not line.startswith("Failed to load resource")] == []


async def change_answer(page: Page, change: Callable[[Any], object], address: str = "**/monitoring/console?*") -> None:
    """Apply ``change`` to what the page polls, or to the answer of another address."""

    async def changed(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        change(body["data"])
        await route.fulfill(response=answer, json=body)

    await page.route(address, changed)


def busy_quarter(metrics: Any, now: float) -> History:
    """Return points of traffic and errors of all kinds up to ``now``."""
    past = History(metrics.counted, now - 900)
    codes = ("image_not_found", "origin_timeout", "origin_unavailable", "overloaded", "unauthorized", "not_an_image")
    for step in range(1, 180):
        times = 2 if step == 179 else 1  # no other point has a value of the newest, wherever the cursor is
        for number in range(times * (20 + step % 30)):
            metrics.server.requests.record("short", "stream", "502" if number > 45 else "200", 0.004 * number, None)
        metrics.urls.url_cache_lookups.add(("local", "hit"), 30)
        metrics.urls.url_cache_lookups.add(("redis", "miss"), times * (1 + step % 7))
        metrics.origin.sent_bytes.add(("memory",), times * 900_000 * (1 + step % 5))
        metrics.origin.sent_bytes.add(("cos",), 400_000 * (1 + step % 3))
        metrics.origin.origin_requests.add(("200",), times * (10 + step % 11))
        metrics.origin.origin_requests.add(("404",), step % 4)
        metrics.beacons.client_loads.add(("loaded",), times * (40 + step % 9))
        metrics.beacons.client_loads.add(("recovered",), step % 6)
        metrics.beacons.client_paint_seconds.merge((0, 0, 2, 1, 1, 0, 0, 0, 0, 0), 5.4, "network")
        metrics.beacons.client_picture_bytes.merge((0, 0, 0, 4, 0, 0, 0, 0, 0, 0), 80_000, "network")
        metrics.beacons.client_picture_bytes.merge((0, 0, 3, 0, 0, 0, 0, 0, 0, 0), 18_000, "cache")
        for number, code in enumerate((*codes, "origin_refused")):
            for _ in range(times * (step % 20) // (number + 1)):
                metrics.server.recent_errors.record(code, f"image-{number}", "r1")
        past.record(now - 900 + 5 * step)
    return past


def points_of(past: History) -> dict[str, Any]:
    return past.as_json(0)


async def test_a_gateway_that_serves_is_well(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    replica = gateway.service.diagnostics.replica
    await replica.record()
    for _ in range(3):
        await gateway.get("/i/a")
    await replica.record()
    await gateway.get("/api/v1/changes?since=0&nginx=edge-1", admin=True)
    await console.open(gateway)
    await expect(console.page.locator("#sentence")).to_have_text("All is well.")
    await expect(console.page.locator("#lights .good")).to_have_text(
        [
            *(re.compile(rf"^{name}ok[\d.]+ m?s$") for name in ("postgres", "cos", "changes", "redis")),
            "credentials (static)okdo not end",
            "clockas COS",
            re.compile(r"^nginx edge-1asked for changes\d+ s ago$"),
        ]
    )
    await expect(console.page.locator("#charts canvas")).to_have_count(CHARTS)
    hints = console.page.locator("#charts .legend")
    await expect(hints.nth(7)).to_contain_text("pages send them with configureSmartImage({ monitor: true })")
    row = console.page.locator("#replicas tbody tr")
    await expect(row).to_have_count(1)
    await expect(console.page.locator("#replicas th")).to_have_text(
        [
            *("Name", "Version", "Entry key", "Started", "Memory", "Streams", "Open files"),
            *("Requests/s", "Errors/s", "Problems", "Time"),
        ]
    )
    await expect(row.locator("td").nth(2)).to_have_text(re.compile("^[0-9a-f]{8}$"))
    await expect(row.locator("td").nth(4)).to_have_text(re.compile("^[0-9.]+ [MG]B$"))
    await console.look("serving")


async def test_the_charts_draw_the_points_of_the_chosen_time_with_one_cursor(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    page, past = console.page, busy_quarter(gateway.service.metrics, time.time())
    await change_answer(page, lambda data: data.update(points=points_of(past)))
    await console.open(gateway)
    legends = page.locator("#charts .legend")
    await expect(legends.nth(4)).to_contain_text("image_not_found")
    await expect(legends.nth(4)).to_contain_text("others")
    await expect(legends.nth(5)).to_contain_text("from memory")
    await expect(page.locator("#cursor")).to_have_text("newest")
    newest = await legends.all_inner_texts()
    await page.locator("#charts .u-over").nth(1).hover(position={"x": 60, "y": 40})
    await expect(page.locator("#cursor")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    under_cursor = await legends.all_inner_texts()
    assert [shown != other for shown, other in zip(newest, under_cursor, strict=True)] == [True] * CHARTS
    await expect(page.locator("#field tbody tr")).to_have_text(
        [
            re.compile("^Largest paintthe network1 s1.5 s2.3 s[0-9]+$"),
            re.compile("^Size of a picturethe network20 kB25 kB29 kB[0-9]+$"),
            re.compile("^Size of a picturea cache6.5 kB8.25 kB9.65 kB[0-9]+$"),
        ]
    )
    await console.look("charts")
    await page.mouse.move(1, 1)
    await expect(page.locator("#cursor")).to_have_text("newest")
    drawn = """() => [...document.querySelectorAll("#charts canvas")].map((canvas) => canvas.toDataURL())"""
    for seconds in ("60", "86400"):
        before = await page.evaluate(drawn)
        await page.select_option("#window", seconds)
        await page.wait_for_function(f"(before) => ({drawn})().every((chart, at) => chart !== before[at])", arg=before)
    await page.select_option("#language", "zh")
    await console.look_on_a_phone("charts-zh")


async def test_a_chart_shows_a_value_that_has_no_neighbour_and_fails_alone(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    """A busy moment between two quiet ones has a latency and a hit rate at one time. COS's clock is another one."""
    page, metrics, now = console.page, gateway.service.metrics, time.time()
    past = History(metrics.counted, now - 25)
    for step in range(1, 5):
        if step == 2:
            metrics.server.requests.record("short", "stream", "200", 0.004, None)
            metrics.urls.url_cache_lookups.add(("local", "hit"), 1)
        past.record(now - 25 + 5 * step)
    await change_answer(page, lambda data: data.update(points=points_of(past), now=data["now"] - 300))
    await console.open(gateway)
    await expect(page.locator("#sentence")).to_have_text("All is well.")
    # The color of the first line, which nothing else in a chart has.
    is_drawn = """(chart) => {
        const figure = document.querySelectorAll("#charts figure")[chart], canvas = figure.querySelector("canvas");
        const [red, green, blue] = getComputedStyle(figure.querySelector(".line-0")).color.match(/\\d+/g).map(Number);
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const is = (at) => data[at] === red && data[at + 1] === green && data[at + 2] === blue && data[at + 3] === 255;
        for (let at = 0; at < data.length; at += 4) if (is(at)) return true;
        return false;
    }"""
    for chart in (0, 1, 2):
        await page.wait_for_function(is_drawn, arg=chart)
    await page.unroute_all(behavior="wait")

    points = points_of(busy_quarter(metrics, time.time()))
    points["fine"][-1]["quantiles"] = "broken"
    await change_answer(page, lambda data: data.update(points=points))
    await page.reload()
    broken = page.locator("#charts figure", has_text="This chart could not be drawn")
    await expect(broken).to_have_count(1)
    await expect(broken.locator("figcaption")).to_have_text("Latency")
    await expect(page.locator("#charts .legend").nth(0)).to_have_text(re.compile(r"^requests[\d.]+/s$"))
    await expect(page.locator("#charts .legend").nth(2)).to_have_text(re.compile(r"^hits[\d.]+ %$"))
    await expect(page.locator("#charts .legend").nth(5)).to_contain_text(re.compile(r"from memory[\d.]+ [kM]B/s"))


@pytest.mark.parametrize("file", ["uPlot.js", "charts.js"])
async def test_without_charts_the_page_works(console: ConsolePage, gateway: RunningGateway, file: str) -> None:
    await console.page.route(f"**/console/{file}", lambda route: route.abort())
    await console.open(gateway)
    await expect(console.page.locator("#sentence")).to_have_text("All is well.")
    await expect(console.page.locator("#charts")).to_contain_text("could not be")


async def test_the_cause_is_the_headline_with_its_section_of_the_runbook_and_its_command(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    for number in range(3):
        await images.add(f"a{number}", png)
        images.cos.faults.add(
            Fault(action=Refuse(status=403, code="SignatureDoesNotMatch"), times=None, key=f"objects/a{number}.png")
        )
        assert (await gateway.get(f"/i/a{number}")).status == 502
    await gateway.publish_replica()
    await console.open(gateway)
    page = console.page
    await expect(page.locator("#sentence")).to_have_text(
        re.compile(
            rf"^COS refuses: SignatureDoesNotMatch since \d\d:\d\d:\d\d · \S+ · bucket {BUCKET}, \d in the last minute$"
        )
    )
    await expect(page.locator("#symptoms")).to_contain_text("3 of 3 requests of the last minute failed.")
    await page.select_option("#language", "zh")
    await expect(page.locator("#sentence")).to_contain_text("COS 拒绝请求：SignatureDoesNotMatch 自 ")
    await page.select_option("#language", "en")
    await expect(page.locator("#remedy code")).to_have_text("image-gateway-admin check")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=gateway.ports.admin)
    await page.locator("#remedy button").click()
    await console.says("The command was copied.")
    await console.look_on_a_phone("cause")
    async with page.expect_popup() as opened:
        await page.locator("#remedy a").click()
    await expect((await opened.value).locator("h3:target")).to_have_text("ImageGatewayOriginRefuses")
    gateway.service.diagnostics.replica.commands = ("python -m gateway", ".dev/gateway.yaml")  # as `dev` has it
    assert (await gateway.get("/i/a0")).status == 502, "the cause is named for a minute"
    await gateway.publish_replica()
    await page.reload()
    await expect(page.locator("#remedy code")).to_have_text("python -m gateway check --config .dev/gateway.yaml")


async def test_a_wall_shows_the_whole_width_and_nothing_to_operate_and_a_phone_lists_cells_with_names(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    page = console.page
    await page.set_viewport_size({"width": 2400, "height": 1300})
    await page.goto(gateway.ports.admin + "/?wall=1")
    await expect(page.locator("#sentence")).to_have_text("All is well.")
    box = await page.locator("#headline").bounding_box()
    assert box is not None
    assert box["width"] > 2200
    for place in ("#look-up", "#token", "#configuration", "#debug"):
        await expect(page.locator(place)).to_be_hidden()
    await console.look("wall")
    await page.set_viewport_size({"width": 360, "height": 740})
    await console.open(gateway)
    cell = page.locator("#replicas td").nth(4)
    await expect(cell).to_have_attribute("data-label", "Memory")
    fits = (
        """(table) => table.scrollWidth <= table.clientWidth && getComputedStyle(table.rows[1]).display === "block" """
    )
    assert await page.locator("#replicas table").evaluate(fits)
    assert await page.locator("#replicas thead").is_hidden()


async def test_a_gateway_without_redis_says_so_in_both_languages(
    console: ConsolePage, start_gateway: StartGateway
) -> None:
    await console.open(await start_gateway(redis={"url": "redis://127.0.0.1:1"}))
    sentence = console.page.locator("#sentence")
    await expect(sentence).to_have_text(re.compile(r"^redis does not answer\. .+ · since \d\d:\d\d:\d\d · \S+$"))
    await expect(console.page.locator("#replicas tbody tr")).to_have_count(1)
    await expect(console.page.locator("#replicas")).to_contain_text("Other replicas are not known")
    await expect(console.page.locator("#queue")).to_contain_text("Redis does not answer")
    await expect(console.page.locator("#lights .bad")).to_have_text(re.compile(r"^redisdown[\d.]* ?m?s?$"))
    await console.page.select_option("#language", "zh")
    await expect(sentence).to_have_text(re.compile(r"^redis 没有响应。 .+ · 自 \d\d:\d\d:\d\d 起 · \S+$"))
    await expect(console.page.locator("html")).to_have_attribute("lang", "zh-CN")
    await console.look_on_a_phone("redis-away")


async def test_the_problems_of_other_replicas_are_said_with_their_names_and_since_when(
    console: ConsolePage, start_gateway: StartGateway
) -> None:
    watched, *others = [await start_gateway() for _ in range(3)]
    for other in others:
        other.service.metrics.reload.config_last_reload_successful.set(0)
        await other.publish_replica()
    names = ", ".join(sorted(other.replica_name for other in others))
    await console.open(watched)
    sentence = console.page.locator("#sentence")
    refused = "The last reload was refused, and the old configuration stays: the log names each mistake."
    await expect(sentence).to_have_text(
        re.compile(rf"^{re.escape(refused)} since \d\d:\d\d:\d\d · {re.escape(names)}$")
    )
    await expect(sentence).to_have_class("warning")
    rows = console.page.locator("#replicas tbody tr")
    await expect(rows.filter(has_text=others[0].replica_name).locator("td").nth(9)).to_have_text("1")
    watched.service.metrics.reload.config_last_reload_successful.set(0)
    await console.page.reload()
    await expect(sentence).to_contain_text(" · every replica")
    await console.page.select_option("#language", "zh")
    await expect(sentence).to_contain_text(" 起 · 所有副本")


async def test_the_banner_is_never_greener_than_a_light(console: ConsolePage, gateway: RunningGateway) -> None:
    for state, reason, level in (("degraded", "a reason", "warning"), ("down", None, "bad")):

        def break_light(data: Any, state: str = state, reason: str | None = reason) -> None:
            data["symptoms"] = []
            redis = next(shown for shown in data["dependencies"] if shown["name"] == "redis")
            redis.update(state=state, reason=reason)

        await change_answer(console.page, break_light)
        await console.open(gateway)
        said = f"Not all is well: redis {state}{f' {reason}' if reason else ''}"
        await expect(console.page.locator("#sentence")).to_have_text(said)
        await expect(console.page.locator("#headline")).to_have_class(level)
        await console.page.unroute_all(behavior="wait")


async def test_events_are_listed_and_drawn_and_seconds_are_not_thousands_of_ms(
    console: ConsolePage, gateway: RunningGateway, images: Images
) -> None:
    page, metrics = console.page, gateway.service.metrics
    await images.add("a")
    await gateway.reload()
    metrics.server.requests.record("short", "stream", "200", 1.68, None)
    past = History(metrics.counted, time.time() - 5)
    metrics.server.requests.record("short", "stream", "200", 1.68, None)
    past.record(time.time())
    drawn = """() => document.querySelector("#charts canvas").toDataURL()"""
    await change_answer(page, lambda data: data.update(points=points_of(past), events=[]))
    await console.open(gateway)
    await expect(page.locator("#charts .legend").nth(1)).to_have_text(re.compile(r"50 %\d\.\d+ s95 %\d\.\d+ s"))
    await expect(page.locator("#events li")).to_have_count(0)
    await page.unroute_all(behavior="wait")
    before = await page.evaluate(drawn)
    await change_answer(page, lambda data: data.update(points=points_of(past)))
    lines = page.locator("#events li")
    await expect(lines.first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d the configuration was reloaded: -$"))
    await expect(lines.last).to_have_text(re.compile(r"^\d\d:\d\d:\d\d the gateway started, version "))
    await page.wait_for_function(f"(before) => ({drawn})() !== before", arg=before)


async def test_the_console_of_another_program_shows_its_commands_and_none_of_a_server(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    """As that of ``dev``: tests/dev/test_command.py runs them."""
    problems = [
        {"name": name, "level": "warning", "values": values, "since": None, "replicas": ["a"]}
        for name, values in (
            ("dependency_down", {"dependency": "cos"}),
            ("renewals_dead", {"count": 1}),
            ("answers_mostly", {"status": "404", "percent": 60}),
            ("objects_missing", {"bucket": "b", "code": "NoSuchKey", "count": 3}),
            ("cos_errors", {"bucket": "b", "code": "body_lost", "count": 3}),
        )
    ]
    host = "127.0.0.1:9090"  # on its machine; the browser comes by a tunnel
    mine = {"commands": ["/opt/my python -m gateway", "'/x/$& y.yaml'"], "address": host, "symptoms": problems}
    await change_answer(console.page, lambda data: data.update(mine))
    await console.open(gateway)
    await expect(console.page.locator("#remedy code, #symptoms code")).to_have_text(
        [
            f"curl -s http://{host}/readyz; /opt/my python -m gateway check --config '/x/$& y.yaml'",
            "/opt/my python -m gateway queue --config '/x/$& y.yaml' dead",
            *["/opt/my python -m gateway check --config '/x/$& y.yaml'"] * 2,
        ]
    )
    await expect(console.page.locator("#symptoms a")).to_have_count(4)
    await expect(console.page.locator("#symptoms")).to_contain_text("COS fails: bodies break off")


async def test_a_gateway_that_stopped_is_said_and_seen_again_when_it_is_back(
    console: ConsolePage, start_gateway: StartGateway, own_port: int
) -> None:
    admin = {"port": own_port, "token": ADMIN_TOKEN}
    gateway = await start_gateway(admin=admin)
    await console.page.clock.install()
    await console.open(gateway, token=ADMIN_TOKEN)
    sentence = console.page.locator("#sentence")
    await expect(sentence).to_have_text("All is well.")
    await gateway.close()
    await console.page.clock.run_for(6_000)
    await expect(sentence).to_have_text(
        re.compile(r"^The gateway does not answer\. What is shown is from \d\d:\d\d:\d\d")
    )
    await expect(console.page.locator("#lights li.old")).to_have_count(6)
    await console.page.click("#configuration summary")
    await expect(console.page.locator("#settings")).to_have_text("The gateway does not answer.")
    await console.press("Debug for ten minutes")
    await console.says("The gateway does not answer.")
    await console.look("stopped")
    await start_gateway(admin=admin)
    await console.page.clock.run_for(6_000)
    await expect(sentence).to_have_text("All is well.")
    await expect(console.page.locator("#lights li.good")).to_have_count(6)


async def test_an_error_in_place_of_the_state_and_a_drain_are_said(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    async def fail(route: Route) -> None:
        await route.fulfill(status=503, json={"code": "unavailable", "message": "not now"})

    await console.page.route("**/monitoring/console?*", fail)
    await console.open(gateway)
    sentence = console.page.locator("#sentence")
    await expect(sentence).to_have_text("The gateway answers with an error: unavailable: not now")
    await console.page.unroute_all(behavior="wait")
    gateway.drain()
    await console.page.reload()
    await expect(sentence).to_contain_text("The gateway is stopping.")


async def test_credentials_that_end_have_a_light(console: ConsolePage, start_gateway: StartGateway) -> None:
    await console.open(await start_gateway(cos={"token_expires_at": int(time.time()) + 2000, "token": "the-token"}))
    light = console.page.locator("#lights li", has_text="credentials")
    await expect(light).to_have_text(re.compile(r"^credentials \(static\)ok(2,000|1,9\d\d) s left$"))
    ending = {"state": "ending", "seconds_left": 42, "reason": "STS does not answer"}
    await change_answer(console.page, lambda data: data["credentials"][0].update(ending))
    await console.page.reload()
    await expect(light).to_have_text("credentials (static)ending42 s left")
    await expect(light).to_have_class("warning")
    said = "Not all is well: credentials (static) ending STS does not answer"
    await expect(console.page.locator("#sentence")).to_have_text(said)


async def test_failing_requests_are_the_sentence_and_the_errors_lead_to_their_explanation(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    images.cos.store.delete(BUCKET, "objects/a.png")
    assert (await gateway.get("/i/a")).status == 404
    await gateway.publish_replica()
    await console.open(gateway)
    page = console.page
    await expect(page.locator("#sentence")).to_contain_text("NoSuchKey")
    await console.press("a")
    await console.says("This needs the admin token.")
    await expect(page.locator("#token")).to_be_focused()
    await console.give(ADMIN_TOKEN)
    await console.press("a")
    await expect(page.locator("#verdict")).to_contain_text("a: 404 image_not_found · COS answered 404 NoSuchKey")
    await expect(page.locator("#verdict")).to_have_class("bad")
    await expect(page.locator("#token")).to_be_hidden()  # it was accepted
    await page.click("#key")
    await expect(page.locator("#token")).to_be_focused()
    await expect(page.locator("#facts dt", has_text="seconds left").first).to_be_visible()
    await console.look("degraded")
    async with page.expect_popup() as opened:
        await page.get_by_role("link", name="image_not_found").click()
    documentation = await opened.value
    await expect(documentation.locator("tr:target td").first).to_have_text("image_not_found")
    await console.take_picture(documentation, "errors")
    await page.reload()
    await expect(page.locator("#token")).to_have_value(ADMIN_TOKEN)


async def test_a_token_in_a_link_neither_replaces_another_one_nor_stays_in_the_address(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    page, address = console.page, gateway.ports.admin + "/"
    await page.goto(f"{address}#token={ADMIN_TOKEN}")
    await expect(page.locator("#token")).to_have_value(ADMIN_TOKEN)
    await page.goto(f"{address}#image=a&token=of-somebody&request=r1")
    await expect(page.locator("#verdict")).to_contain_text("a: 404")
    await expect(page.locator("#facts")).to_contain_text("r1")
    assert page.url == f"{address}#image=a&request=r1"
    await page.fill("#id", "b")
    await console.press("Explain")
    await expect(page.locator("#verdict")).to_contain_text("b: 404")
    assert page.url == f"{address}#image=b"
    await expect(page.locator("#token")).to_have_value(ADMIN_TOKEN)


async def test_what_the_canary_sees_is_a_light_and_a_problem_with_its_section(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    via, now = "https://img.example.com", time.time()
    seen = [
        CanaryOutcome(via, "public", False, "404 instead of 200", 0.1, now),
        CanaryOutcome(via, "private_anonymous", True, "404 for a caller without credentials", 0.1, now),
    ]
    gateway.service.metrics.canary.put("answers", seen)
    await console.open(gateway)
    page = console.page
    await expect(page.locator("#sentence")).to_contain_text(
        "Asked as a user asks, https://img.example.com does not answer as it should (public)."
    )
    light = page.locator("#lights li", has_text="from outside")
    await expect(light).to_have_class("bad")
    reason = "from outside down https://img.example.com public: 404 instead of 200"
    await expect(page.locator("#symptoms")).to_contain_text(reason)
    await expect(page.locator("#remedy a")).to_have_attribute("href", "docs/runbook#imagegatewaycanaryfails")
