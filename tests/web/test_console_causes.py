"""The console names the cause first, whatever else it causes, in a real browser."""

import re

import pytest
from playwright.async_api import expect

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, StartGateway
from tests.injected_faults import FAULTS, Injected, scene_of
from tests.web.test_console import ConsolePage, console

__all__ = ["console"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_the_cause_is_the_headline_no_light_is_worse_and_it_leads_to_its_alert(
    fault: Injected,
    console: ConsolePage,
    start_gateway: StartGateway,
    images: Images,
    cos: CosEmulator,
    postgres_dsn: str,
) -> None:
    async with scene_of(fault, start_gateway, images, cos, postgres_dsn) as scene:
        await fault.inject(scene)
        scene.five_seconds_pass()
        await console.open(scene.gateway)
        sentence = console.page.locator("#sentence")
        await expect(sentence).to_have_text(re.compile(fault.headline))
        await expect(sentence).to_have_class(fault.level)
        await expect(console.page.locator("#remedy a")).to_have_text(f"Runbook: {fault.alert}")
        if fault.level == "warning":
            await expect(console.page.locator("#lights .bad")).to_have_count(0)
        await expect(console.page.locator("#symptoms")).not_to_contain_text("cos does not answer")
        await console.take_picture(console.page, re.sub(r"\W+", "-", fault.name))
