"""Networks that are slow, and pages that come back."""

import io
import os

from PIL import Image

from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import Images
from tests.waiting import until_answered
from tests.web.conftest import Visit

FAILING = Refuse(status=500, code="InternalError")
ONE_RETRY = "max-retries=1 retry-delay=1"


async def test_a_slow_network_is_no_failure(visit: Visit, images: Images) -> None:
    """Three images of 70 kB over a connection that takes seconds for them."""
    noise = io.BytesIO()
    Image.frombytes("RGB", (160, 150), os.urandom(160 * 150 * 3)).save(noise, "PNG")
    for name in "abc":
        await images.add(name, noise.getvalue())
    await visit.open("")
    await visit.until("() => customElements.get('smart-image')")
    devtools = await visit.page.context.new_cdp_session(visit.page)
    await devtools.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 300, "downloadThroughput": 20_000, "uploadThroughput": 45_000},
    )
    await visit.page.evaluate(
        """for (const id of "abc") document.body.insertAdjacentHTML("beforeend",
             `<smart-image id="${id}" image-id="${id}" alt="" width="160" height="150"></smart-image>`)"""
    )
    # The spinner appears after a moment.
    spinner = "getComputedStyle(a.shadowRoot.querySelector('[part=spinner]')).opacity"
    await visit.until(f"() => a.state === 'loading' && {spinner} === '1'")
    await visit.all_loaded(3)
    assert [await visit.types(name) for name in "abc"] == [["load"]] * 3
    assert len(visit.asked_for("/i/")) == 3


async def test_failed_images_are_tried_again_when_the_page_is_shown_again(
    visit: Visit, images: Images, png: bytes
) -> None:
    """The page becomes visible, or comes from the back/forward cache."""
    await images.add("a", png)
    await images.add("b", png)
    images.cos.faults.add(Fault(action=FAILING, times=None))
    await visit.open(
        f'<smart-image id="one" image-id="a" alt="" width="80" height="60" {ONE_RETRY}></smart-image>',
        script="Object.defineProperty(document, 'hidden', {value: true, configurable: true})",  # it sends no probes
    )
    await visit.state("#one", "failed")
    images.cos.faults.clear()
    await until_answered(visit.gateway, "/i/a", 200)
    assert await visit.page.evaluate("one.state") == "failed"
    await visit.page.evaluate(
        "delete document.hidden; document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))"
    )
    await visit.state("#one", "loaded")
    assert await visit.types("one") == ["retry", "error", "load", "recover"]

    images.cos.faults.add(Fault(action=FAILING, times=None))
    await visit.page.evaluate("one.imageId = 'b'")
    await visit.state("#one", "failed")
    await visit.page.evaluate("addEventListener('pageshow', ({persisted}) => window.kept = persisted)")
    await visit.page.goto(visit.site.put("/other", "<p>Elsewhere</p>"))
    images.cos.faults.clear()
    await until_answered(visit.gateway, "/i/b", 200)
    await visit.page.go_back(wait_until="commit")
    await visit.until("() => window.kept === true")
    await visit.state("#one", "loaded")
