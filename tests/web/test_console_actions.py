"""What an operator does in the console: look-ups, new URLs, retries, purges, the log."""

import asyncio
import json
import re
import shlex
import time

import pytest
import redis
from playwright.async_api import Route, expect

from gateway.presign.style_variants import ImageVariant
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.web.test_console import HOSTILE, ConsolePage, change_answer, console

__all__ = ["console"]


async def test_an_image_is_explained_for_a_user_and_a_style_and_the_page_says_that_it_waits(
    console: ConsolePage, start_gateway: StartGateway, images: Images, png: bytes
) -> None:
    card = {"process": "imageMogr2/thumbnail/{width}x{height}", "widths": [64], "ratios": ["16:9"]}
    gateway = await start_gateway(image_styles={"card": card})
    await images.add("a", png, owner="alice", public=False)
    await images.add("open", png)
    page, verdict = console.page, console.page.locator("#verdict")
    await console.open(gateway, token=ADMIN_TOKEN)
    await page.fill("#id", "a")
    await console.press("Explain")
    await expect(verdict).to_contain_text("a: 404 image_not_found")
    await page.fill("#user", "alice")
    await expect(page.locator("#found")).to_be_hidden()
    for rendition in ("card@64.webp", "card@64.16x9.webp"):
        await page.fill("#style", rendition)
        await console.press("Explain")
        await expect(verdict).to_contain_text("a: 200 · the client gets the image")
        await expect(verdict).to_have_class("good")
        await expect(page.locator("#facts")).to_contain_text(rendition)
    await page.fill("#style", "")
    # Spaces and addresses are understood.
    for text in ("  open \t", "https://img.example.com/i/open?style=card&w=640", "/api/v1/images/open/proxy"):
        await page.fill("#id", text)
        await expect(page.locator("#found")).to_be_hidden()
        await console.press("Explain")
        await expect(verdict).to_contain_text("open: 200")
    answered = asyncio.Event()

    async def wait(route: Route) -> None:
        await answered.wait()
        await route.continue_()

    await page.route("**/explain/*", wait)
    await page.fill("#id", "a")
    await console.press("Explain")
    await expect(page.locator("#asking")).to_contain_text(
        re.compile(r"Asking Postgres, Redis and COS about a: [1-9]\d* s")
    )
    answered.set()
    await expect(verdict).to_contain_text("a: 200")
    await expect(page.locator("#asking")).to_be_hidden()
    await page.unroute_all(behavior="wait")


async def test_a_look_up_has_an_address(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png, owner="alice", public=False)
    page, verdict = console.page, console.page.locator("#verdict")
    await page.goto(gateway.ports.admin + "/#image=a&user=alice")
    await console.says("This needs the admin token.")
    await console.give(ADMIN_TOKEN)
    await page.press("#token", "Enter")
    await expect(verdict).to_contain_text("a: 200")
    await page.fill("#user", "")
    await console.press("Explain")
    await expect(verdict).to_contain_text("a: 404")
    assert page.url == gateway.ports.admin + "/#image=a"
    await page.go_back()
    await expect(verdict).to_contain_text("a: 200")
    await page.reload()
    await expect(verdict).to_contain_text("a: 200")


async def test_of_a_long_id_the_beginning_is_shown_and_the_whole_is_looked_up(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    image_id = "long-" * 25
    assert (await gateway.get(f"/i/{image_id}")).status == 404
    await console.open(gateway, token=ADMIN_TOKEN)
    shown = console.page.locator("#errors button.id")
    await expect(shown).to_have_attribute("title", image_id)
    box = await shown.bounding_box()
    assert box is not None
    assert box["width"] < 300
    assert box["height"] < 45
    await shown.click()
    await expect(console.page.locator("#verdict")).to_contain_text(f"{image_id}: 404")


async def test_the_picture_of_a_private_image_is_shown_to_whoever_has_the_token(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("private", png, owner="alice", public=False)
    await images.add("broken", b"no picture")
    await console.open(gateway)
    page = console.page
    await page.fill("#id", "private")
    await console.press("Show the image")
    await console.says("This needs the admin token.")
    await console.give("wrong")
    await console.press("Show the image")
    await console.says(re.compile("^Refused: unauthorized"))
    await expect(page.locator("#picture img")).to_have_count(0)
    await console.give(ADMIN_TOKEN)
    await console.press("Show the image")
    await expect(page.locator("#picture figcaption")).to_have_text(f"80 × 60 · image/png · {len(png)} bytes")
    assert await page.locator("#picture img").evaluate("(image) => image.naturalWidth") == 80
    await console.press("Explain")
    await expect(page.locator("#verdict")).to_contain_text("private: 404")
    await console.press("Show the image")
    await expect(page.locator("#picture img")).to_be_visible()
    await console.look("picture")
    await page.fill("#id", "broken")
    await expect(page.locator("#picture img")).to_have_count(0)
    await console.press("Show the image")
    await expect(page.locator("#picture figcaption")).to_have_text("The browser cannot show this type: image/png.")
    await page.fill("#id", "unknown")
    await console.press("Show the image")
    await console.says("Refused: image_not_found: there is no such image")


async def test_a_new_url_is_signed_with_the_token_and_not_shown(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png, owner="alice", public=False)
    await console.open(gateway, token="wrong")
    page = console.page
    await page.fill("#id", "a")
    await console.press("Sign a new URL")
    await console.says(re.compile("^Refused: unauthorized"))
    assert await renewals(gateway, "a") == 0
    await console.give(ADMIN_TOKEN)
    await console.press("Sign a new URL")
    await console.says(re.compile(r"^A new URL was signed; it ends at .*\d\d:\d\d:\d\d\.$"))
    assert await renewals(gateway, "a") == 1
    assert "q-signature" not in await page.content()


async def renewals(gateway: RunningGateway, image_id: str) -> int:
    """How often alice's image got a new URL."""
    status = await gateway.get(f"/api/v1/images/{image_id}/status", user="alice")
    return int(status.json()["data"]["refresh_count"])


@pytest.mark.parametrize("may_copy", [True, False])
async def test_a_look_up_is_copied_as_a_command_that_works(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes, may_copy: bool
) -> None:
    await images.add("a", png)
    page = console.page
    await page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: "
        + ("{writeText: async (text) => { window.copied = text; }}" if may_copy else "undefined")
        + "});"
    )
    await console.open(gateway)
    await console.press("Copy as curl")  # the form says that the id is missing
    await page.fill("#id", "a")
    await page.fill("#user", "o'brien $(id)")
    await console.press("Copy as curl")
    if may_copy:
        await console.says("Copied; set TOKEN to the admin token.")
        command = await page.evaluate("window.copied")
    else:
        await console.says("The browser does not let this page copy: the command is selected below.")
        command = await page.locator("#command").inner_text()
        assert await page.evaluate("getSelection().toString()") == command
    assert ADMIN_TOKEN not in command
    program, *arguments = shlex.split(command.replace("$TOKEN", ADMIN_TOKEN))
    process = await asyncio.create_subprocess_exec(program, "-s", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert json.loads(output)["data"]["verdict"]["status"] == 200


async def test_ten_thousand_hostile_dead_renewals_are_text_and_tried_again_once_confirmed(
    console: ConsolePage, start_gateway: StartGateway, redis_client: "redis.Redis"
) -> None:
    gateway = await start_gateway(redis={"timeout": 10})
    entry = json.dumps({"reason": HOSTILE, "at": time.time(), "attempts": 5})
    redis_client.hset("image:refresh:dead", mapping={f"i{number}": entry for number in range(10_000)})
    gateway.service.metrics.urls.refresh_dead.set(10_000)
    await gateway.redis.queue.schedule(
        {ImageVariant(f"due{number}"): time.time() + 7 * number for number in range(130)}
    )
    await console.open(gateway)
    page = console.page
    await expect(page.locator("#queue")).to_contain_text("10,000 failed for good")
    await expect(page.locator("#shown-dead")).to_have_text("100 of 10,000 are shown.")
    await expect(page.locator("#dead tbody tr")).to_have_count(100)
    assert await page.locator("#dead img").count() == 0
    await expect(page.locator("#dead tbody tr").first).to_contain_text(HOSTILE)
    await console.look("dead")
    queue = gateway.redis.queue
    await page.click("#requeue")
    await console.press("Go on")
    await console.says("This needs the admin token.")
    await console.give(ADMIN_TOKEN)
    await page.click("#requeue")
    await console.press("Cancel")
    assert (await queue.state(time.time())).dead == 10_000
    await page.click("#requeue")
    await console.press("Go on")
    await console.says("Done.")
    assert (await queue.state(time.time())).dead == 0
    await expect(page.locator("#requeue")).to_be_hidden()
    assert await page.title() == f"Image gateway console · {gateway.ports.admin.removeprefix('http://')}"


async def test_one_dead_renewal_is_explained_and_tried_again(
    console: ConsolePage, gateway: RunningGateway, redis_client: "redis.Redis", images: Images, png: bytes
) -> None:
    await images.add("a", png)
    entry = json.dumps({"reason": "no row", "at": time.time(), "attempts": 5})
    redis_client.hset("image:refresh:dead", mapping={"a": entry, "a|card@64.webp": entry, "b": entry})
    await console.open(gateway, token="wrong")
    page, queue = console.page, gateway.redis.queue
    row = page.locator("#dead tbody tr", has_text="card@64.webp")
    await row.get_by_role("button", name="Try again").click()
    await console.says(re.compile("^Refused: unauthorized"))
    await console.give(ADMIN_TOKEN)
    await row.get_by_role("button", name="a", exact=True).click()
    await expect(page.locator("#style")).to_have_value("card@64.webp")
    await console.says(re.compile("^Refused: unknown_style"))  # it is no longer configured
    await page.locator("#dead tbody tr", has_text="–").get_by_role("button", name="a", exact=True).click()
    await expect(page.locator("#facts")).to_contain_text("no row")
    await row.get_by_role("button", name="Try again").click()
    await console.says("Done.")
    await expect(page.locator("#dead tbody tr")).to_have_count(2)
    assert {entry.item for entry in await queue.dead()} == {ImageVariant("a"), ImageVariant("b")}


async def test_the_log_is_switched_images_are_purged_and_the_configuration_has_no_secret(
    console: ConsolePage, gateway: RunningGateway, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await gateway.get("/i/a")
    await console.open(gateway, token="wrong")
    page = console.page
    await page.click("#debug")
    await console.says(re.compile("^Refused: unauthorized"))
    await console.give(ADMIN_TOKEN)
    await page.click("#debug")
    await expect(page.locator("#level")).to_contain_text("at debug until")
    await page.click("#debug")
    await expect(page.locator("#level")).to_have_text("The log is at its configured level.")
    await page.fill("#id", "a")
    await console.give("wrong")
    await console.press("Purge")
    await console.look("confirm")
    await console.press("Go on")
    await console.says(re.compile("^Refused: unauthorized"))
    assert await gateway.redis.queue.due_at(ImageVariant("a")) is not None
    await console.give(ADMIN_TOKEN)
    await console.press("Purge")
    await console.press("Go on")
    await console.says("Done.")
    assert await gateway.redis.queue.due_at(ImageVariant("a")) is None
    await page.click("#configuration summary")
    await expect(page.locator("#settings")).to_contain_text('"default_ttl": 3600')
    assert ADMIN_TOKEN not in await page.locator("#settings").inner_text()
    await expect(page.locator("#restart")).to_be_empty()
    assert await page.evaluate("({...sessionStorage})") == {"token": ADMIN_TOKEN}
    assert await page.evaluate("localStorage.length") == 0
    assert await page.context.cookies() == []
    restart = {"needs_restart": ["server.port", "redis.url"]}
    await change_answer(page, lambda data: data.update(restart), "**/monitoring/settings")
    await page.reload()
    await page.click("#configuration summary")
    await expect(page.locator("#restart")).to_have_text(
        "A restart is needed for the new values of server.port, redis.url."
    )
    await page.unroute_all(behavior="wait")
