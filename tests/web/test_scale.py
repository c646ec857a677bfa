"""Many images: requests, bytes and memory of a page."""

from playwright.async_api import CDPSession

from tests.conftest import Images
from tests.web.conftest import Visit

KILOBYTE = 1024


async def test_a_page_of_fifty_images_costs_one_request_each_and_eleven_kilobytes(
    visit: Visit, images: Images, png: bytes
) -> None:
    for number in range(50):
        await images.add(f"p{number}", png)
    devtools = await visit.page.context.new_cdp_session(visit.page)
    await devtools.send("Network.enable")
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    devtools.on("Network.responseReceived", lambda event: names.update({event["requestId"]: event["response"]["url"]}))
    devtools.on(
        "Network.loadingFinished", lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])})
    )
    await visit.open(
        "".join(
            f'<smart-image image-id="p{number}" alt="" width="80" height="60"></smart-image>' for number in range(50)
        )
    )
    await visit.all_loaded(50)
    assert len(visit.asked_for("GET")) == 1 + 1 + 50  # the page, the component, the images
    assert len(visit.asked) == len(visit.asked_for("GET"))
    component = sum(size for request, size in sizes.items() if "/static/" in names.get(request, ""))
    assert 0 < component <= 11 * KILOBYTE  # with the response fields
    # No bytes twice, and at most 1 kB of response fields for each image.
    pictures = [size for request, size in sizes.items() if "/i/p" in names.get(request, "")]
    assert len(pictures) == 50
    assert max(pictures) <= len(png) + KILOBYTE


async def test_of_a_thousand_lazy_images_only_near_ones_are_loaded_and_the_heap_stays_flat(
    visit: Visit, images: Images, png: bytes
) -> None:
    for number in range(50):
        await images.add(f"p{number}", png)
    await visit.open("")
    await visit.until("() => customElements.get('smart-image')")
    await visit.page.evaluate(
        """document.body.append(...Array.from({length: 1000}, (_, number) => Object.assign(
             document.createElement("smart-image"),
             {imageId: `p${number % 50}`, alt: "", width: 160, height: 120, lazy: true, id: `s${number}`})))"""
    )
    await visit.state("#s0", "loaded")
    loaded = "document.querySelectorAll('smart-image:state(loaded)').length"
    assert await visit.page.evaluate(loaded) < 200
    assert await visit.page.evaluate("s999.state") == "idle"
    await visit.page.evaluate("s999.scrollIntoView()")
    await visit.state("#s999", "loaded")
    assert await visit.page.evaluate(loaded) < 400
    devtools = await visit.page.context.new_cdp_session(visit.page)
    heaps: list[int] = []
    while len(heaps) < 3:
        await visit.page.evaluate(SCROLL_THROUGH)
        # On a busy machine a frame may come too late for images that were near for its time only.
        if await visit.page.evaluate("document.querySelectorAll('smart-image:not(:state(idle))').length") == 1000:
            await visit.all_loaded(1000)
            await visit.page.evaluate("log.length = 0; performance.clearResourceTimings()")
            heaps.append(await heap_of(devtools))
    # All images are loaded. More scrolling adds nothing: 100 kB is a tenth of a kilobyte an image.
    assert max(heaps[1:]) - heaps[0] < 100 * KILOBYTE


SCROLL_THROUGH = """
  (async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    for (let y = 0; y < document.body.scrollHeight; y += 1600) {
      scrollTo(0, y);
      await frame();
      await frame();
    }
    scrollTo(0, 0);
  })()
"""


async def heap_of(devtools: CDPSession) -> int:
    """Collect garbage; return the bytes in use on the JavaScript heap."""
    await devtools.send("HeapProfiler.collectGarbage")
    usage: dict[str, int] = await devtools.send("Runtime.getHeapUsage")
    return int(usage["usedSize"])
