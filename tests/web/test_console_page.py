"""The console as a page: its languages, its polls, and the pages beside it."""

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Request, expect

from tests.conftest import RunningGateway
from tests.waiting import until
from tests.web.test_console import ConsolePage, console

__all__ = ["console"]

WORDS = Path("gateway/web/console/words.js")


def test_both_languages_have_the_same_words() -> None:
    english, chinese = (
        dict(re.findall(r'^ {4}(\w+):\s+"(.*)",$', part, flags=re.MULTILINE))
        for part in WORDS.read_text(encoding="utf-8").split("  zh: {")
    )
    values = {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in english.items()}
    assert values == {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in chinese.items()}
    assert len(values) > 100


async def test_the_pages_of_the_api_and_of_error_codes_are_readable_without_scripts(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    await console.page.goto(gateway.ports.admin + "/docs")
    await expect(console.page.locator("table").first).to_be_visible()
    await console.look_on_a_phone("docs")
    await console.page.get_by_role("link", name="Error codes").click()
    await expect(console.page.locator("h1")).to_have_text("Errors")
    await console.look("errors")
    await console.page.get_by_role("link", name="Runbook", exact=True).click()
    await expect(console.page.locator("h1")).to_have_text("Runbook")
    await console.look("runbook")


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
    if hidden:
        assert len(polls) == before
        return

    async def polls_again() -> bool:  # a poll that still runs sets the time of the next one when it has ended
        await console.page.clock.run_for(5_000)
        return len(polls) > before

    await until(polls_again)


async def test_the_page_polls_every_five_seconds_and_holds_no_request_open(
    console: ConsolePage, gateway: RunningGateway
) -> None:
    """An open stream would hold the drain of the gateway. Nor is a language taken that another page has stored."""
    await console.page.add_init_script("localStorage.setItem('language', 'de')")
    polls = 0
    running: set[Request] = set()

    def begins(request: Request) -> None:
        nonlocal polls
        polls += "/monitoring/console" in request.url
        running.add(request)

    def ends(request: Request) -> None:
        running.discard(request)

    console.page.on("request", begins)
    console.page.on("requestfinished", ends)
    console.page.on("requestfailed", ends)
    await console.page.clock.install(time=0)
    await console.page.clock.pause_at(1)  # seconds; the page's clock stands still from here
    await console.open(gateway)
    await until(lambda: polls == 1 and not running)
    await console.page.clock.run_for(4_900)
    assert polls == 1
    await console.page.clock.run_for(200)
    await until(lambda: polls == 2 and not running)

    async def is_well() -> bool:  # a probe may be late on a busy machine: then a later poll says so
        await console.page.clock.run_for(5_000)
        return await console.page.locator("#sentence").inner_text() == "All is well."

    await until(is_well)
