"""The reports of a page reach the gateway's metrics."""

import io
from typing import get_args

from PIL import Image

from gateway.api.beacons import BytesSource
from tests.conftest import Images, RunningGateway
from tests.limits import LIMIT
from tests.waiting import until
from tests.web.conftest import Visit

HIDE = """
  Object.defineProperty(document, "hidden", {value: true, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
"""


async def test_loads_of_a_page_are_counted_once_it_is_hidden(
    visit: Visit, images: Images, gateway: RunningGateway
) -> None:
    """And the largest paint of the page, which is one of the pictures, and the bytes of each."""
    out = io.BytesIO()
    # Chromium leaves pictures with few bytes a pixel out.
    Image.effect_noise((300, 200), 90).save(out, "PNG")
    photo = out.getvalue()
    await images.add("a", photo)
    await visit.open(
        """<smart-image id="one" image-id="a" alt="" width="600" height="400"></smart-image>
           <smart-image id="two" image-id="missing" alt=""></smart-image>""",
        script="configureSmartImage({monitor: true})",
    )
    await visit.state("#one", "loaded")
    await visit.state("#two", "failed")
    await visit.page.evaluate(
        """new Promise((done) => new PerformanceObserver((list) =>
             list.getEntries().some(({ element }) => element?.closest("smart-image")) && done()
           ).observe({ type: "largest-contentful-paint", buffered: true }))"""
    )
    # The collector is loaded on demand, and asks whether this gateway takes beacons.
    await visit.until("() => performance.getEntriesByType('resource').some(({name}) => name.includes('config.json'))")

    async def are_counted() -> bool:
        await visit.page.evaluate(HIDE)
        return all(gateway.sample("client_loads_total", result=result) == 1 for result in ("loaded", "failed"))

    await until(are_counted)
    assert gateway.sample("client_attempts_total") == 2
    assert sum(gateway.sample("client_sources_total", source=source) for source in get_args(BytesSource)) == 1
    assert gateway.sample("client_load_seconds_count") == 1
    (paint,) = [
        source for source in get_args(BytesSource) if gateway.sample("client_paint_seconds_count", source=source)
    ]
    assert 0 < gateway.sample("client_paint_seconds_sum", source=paint) < 2 * LIMIT
    assert gateway.sample("client_picture_bytes_sum", source="network") == len(photo)
    assert 0 < gateway.sample("client_load_seconds_sum") < 2 * LIMIT
    assert visit.asked_for("OPTIONS") == [], "no preflight"


async def test_a_collector_that_cannot_be_loaded_is_no_error_of_the_page(
    visit: Visit, images: Images, png: bytes
) -> None:
    """Nor does it keep an image from its retries."""
    await images.add("a", png)
    await visit.page.route("**/smart-image-monitor.*", lambda route: route.abort())
    await visit.open(
        """<smart-image id="one" image-id="a" alt=""></smart-image>
           <smart-image id="two" image-id="missing" alt=""></smart-image>""",
        script="configureSmartImage({monitor: true})",
    )
    await visit.state("#one", "loaded")
    await visit.state("#two", "failed")
    await until(lambda: visit.asked_for("smart-image-monitor"))
