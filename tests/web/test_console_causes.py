"""The console names the cause first, whatever else it causes, in a real browser."""

import re
from contextlib import AbstractAsyncContextManager

import pytest
from playwright.async_api import expect

from gateway.findings.catalogue import CATALOGUE
from tests.faults.scene import Scene, stage
from tests.faults.table import FAULTS, parameters
from tests.web.test_console import ConsolePage, console

__all__ = ["console", "stage"]
SEEN = [fault for fault in FAULTS if fault.headline]


@pytest.mark.parametrize("stage", parameters(*SEEN), indirect=True)
async def test_the_cause_is_the_headline_no_light_is_worse_and_it_leads_to_its_alert(
    stage: AbstractAsyncContextManager[Scene], console: ConsolePage
) -> None:
    async with stage as scene:
        fault = scene.fault
        await scene.inject()
        scene.five_seconds_pass()
        await console.open(scene.gateway)
        sentence = console.page.locator("#sentence")
        await expect(sentence).to_have_text(re.compile(fault.headline))
        await expect(sentence).to_have_class(fault.level)
        await expect(console.page.locator("#remedy a")).to_have_text(f"Runbook: {CATALOGUE[fault.problem].alert}")
        if fault.level == "warning":
            await expect(console.page.locator("#lights .bad")).to_have_count(0)
        await expect(console.page.locator("#symptoms")).not_to_contain_text("cos does not answer")
        await console.take_picture(console.page, re.sub(r"\W+", "-", fault.name))


def test_many_causes_are_looked_at() -> None:
    assert len(SEEN) >= 10
