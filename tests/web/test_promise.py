"""What the component promises, in Chromium, Firefox and WebKit."""

from tests.conftest import Images
from tests.waiting import until
from tests.web.conftest import Tab

SIZE = 'width="80" height="60"'
DEFINED = "customElements.get('smart-image')"


async def test_an_image_is_displayed(tab: Tab, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await tab.open('<smart-image id="one" image-id="a" alt="A gradient"></smart-image>')
    await tab.state("one", "loaded")
    assert await tab.types("one") == ["load"]
    assert await tab.evaluate("[one.naturalWidth, one.complete, one.attempt]") == [80, True, 1]
    assert len(tab.front.asked_for("GET /i/a")) == 1


async def test_each_retry_reaches_the_network_and_the_image_heals(tab: Tab, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await tab.open("")
    await tab.until(DEFINED)
    tab.front.is_down = True
    quick = 'max-retries="30" retry-delay="100" retry-max-delay="300"'
    await add(tab, f'<smart-image id="one" image-id="a" alt="" {SIZE} {quick}></smart-image>')
    await tab.until("one.attempt >= 4")
    assert len(tab.front.asked_for("GET /i/a")) >= 3
    tab.front.is_down = False
    await tab.state("one", "loaded")
    types = await tab.types("one")
    assert (set(types[:-2]), types[-2:]) == ({"retry"}, ["load", "recover"])


async def test_a_page_with_one_or_two_images_recovers_from_an_outage(tab: Tab, images: Images, png: bytes) -> None:
    """Too few to call it an outage: they give up, and are tried again when the gateway answers a rare probe."""
    for name in "ab":
        await images.add(name, png)
    await tab.open("", before="Math.random = () => 0.2")  # waits are a fifth of the longest
    await tab.until(DEFINED)
    tab.front.is_down = True
    for name in "ab":
        await add(tab, f'<smart-image id="{name}" image-id="{name}" alt="" {SIZE} max-retries="0"></smart-image>')
        await tab.state(name, "failed")
    sent = len(tab.front.seen)
    await until(lambda: len(tab.front.seen) >= sent + 3)
    assert {entry.split()[0] for entry in tab.front.seen[sent:]} == {"HEAD"}, "a probe costs no bytes"
    tab.front.is_down = False
    for name in "ab":
        await tab.state(name, "loaded")
        assert await tab.types(name) == ["error", "load", "recover"]
    sent = len(tab.front.seen)
    await tab.evaluate("new Promise((done) => setTimeout(done, 1500))")
    assert len(tab.front.seen) == sent, "nothing is probed on a page that is well"


async def add(tab: Tab, html: str) -> None:
    """Add elements to the page."""
    await tab.evaluate(f"document.body.insertAdjacentHTML('beforeend', `{html}`)")
