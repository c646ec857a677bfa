"""What the component promises, in Chromium, Firefox and WebKit."""

from tests.conftest import Images
from tests.web.conftest import Tab

SIZE = 'width="80" height="60"'


async def test_an_image_is_displayed(tab: Tab, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await tab.open('<smart-image id="one" image-id="a" alt="A gradient"></smart-image>')
    await tab.state("one", "loaded")
    assert await tab.types("one") == ["load"]
    assert await tab.evaluate("[one.naturalWidth, one.complete, one.attempt]") == [80, True, 1]
    assert len(tab.front.asked_for("GET /i/a")) == 1
