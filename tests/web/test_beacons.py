"""What a page saw reaches the gateway's metrics."""

from tests.conftest import Images, RunningGateway
from tests.waiting import until
from tests.web.conftest import Visit

HIDE = """
  Object.defineProperty(document, "hidden", {value: true, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
"""


async def test_loads_of_a_page_are_counted_once_it_is_hidden(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    await images.add("a", png)
    await visit.open(
        """<smart-image id="one" image-id="a" alt=""></smart-image>
           <smart-image id="two" image-id="missing" alt=""></smart-image>""",
        script="configureSmartImage({monitor: true})",
    )
    await visit.state("#one", "loaded")
    await visit.state("#two", "failed")
    # The collector is loaded on demand, and asks whether this gateway takes beacons.
    await visit.until("() => performance.getEntriesByType('resource').some(({name}) => name.includes('config.json'))")

    async def is_counted() -> bool:
        await visit.page.evaluate(HIDE)
        return gateway.sample("client_beacons_total", result="accepted") > 0

    await until(is_counted)
    assert gateway.sample("client_loads_total", result="loaded") == 1
    assert gateway.sample("client_loads_total", result="failed") == 1
    assert gateway.sample("client_load_seconds_count") == 1
    assert 0 < gateway.sample("client_load_seconds_sum") < 10
    assert visit.asked_for("OPTIONS") == [], "no preflight"
