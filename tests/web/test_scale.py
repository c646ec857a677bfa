"""Many images: requests, bytes and memory of a page."""

from playwright.async_api import CDPSession

from tests.conftest import Images, StartGateway
from tests.waiting import until
from tests.web.conftest import Visit

KILOBYTE = 1024
CARD = {"card": {"widths": [80, 160], "formats": ["original"]}}


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
        if await visit.page.evaluate("[...document.querySelectorAll('smart-image')].every((i) => i.state !== 'idle')"):
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


async def test_a_thousand_removed_images_leave_no_nodes_behind(
    visit: Visit, images: Images, png: bytes, start_gateway: StartGateway
) -> None:
    """Chromium keeps a removed lazy ``<img>`` whose ``sizes`` are ``auto``, and all that hangs on it.

    Those that failed or still wait leave nothing either.
    """
    await images.add("a", png)
    visit.gateway = await start_gateway(image_styles=CARD)
    await visit.open("<main></main>")
    await visit.until("() => customElements.get('smart-image')")
    devtools = await visit.page.context.new_cdp_session(visit.page)

    async def is_clean() -> bool:
        await heap_of(devtools)
        return bool((await devtools.send("Memory.getDOMCounters"))["nodes"] < 200)

    for _ in range(10):  # each adds some two thousand nodes
        await visit.page.evaluate(
            """document.querySelector("main").replaceChildren(...Array.from({length: 100}, () => Object.assign(
                 document.createElement("smart-image"), {imageId: "a", alt: "", width: 80, height: 60, lazy: true,
                   styleName: "card", widths: "80 160", formats: "original"})))
               document.querySelector("main").append(...Array.from({length: 40}, (_, number) => Object.assign(
                 document.createElement("smart-image"), number % 2
                   ? {imageId: "absent", alt: "", width: 80, height: 60}
                   : {imageId: "a", alt: "", width: 80, height: 60, lazy: true})));
               document.querySelector("main > :nth-child(100)").insertAdjacentHTML(
                 "afterend", "<div style='height: 30000px'></div>");"""
        )
        await visit.all_loaded(100)
        await visit.until("() => document.querySelectorAll('smart-image:state(failed)').length === 20")
        assert await visit.page.evaluate("document.querySelector('main').lastChild.previousSibling.state") == "idle"
        assert (await visit.page.evaluate("document.querySelector('smart-image img').sizes")).startswith("auto")
        await visit.page.evaluate("document.querySelector('main').replaceChildren()")
        await until(is_clean, what="no nodes")


async def test_an_image_that_comes_back_is_chosen_by_its_size_in_the_layout(
    visit: Visit, images: Images, png: bytes, start_gateway: StartGateway
) -> None:
    await images.add("a", png)
    visit.gateway = await start_gateway(image_styles=CARD)
    await visit.open(
        '<smart-image id="one" image-id="a" alt="" width="80" height="60" lazy style-name="card" widths="80 160" '
        'formats="original"></smart-image>'
    )
    await visit.state("#one", "loaded")
    asked = len(visit.asked)
    look = "(({loading, sizes}) => [loading, sizes.startsWith('auto')])(kept.querySelector('img'))"
    await visit.page.evaluate("(window.kept = one, one.remove())")
    await visit.until(f"() => `${{{look}}}` === 'eager,true'")
    await visit.page.evaluate("document.body.append(kept)")
    await visit.until(f"() => `${{{look}}}` === 'lazy,true'")
    assert await visit.types("one") == ["load"]
    assert len(visit.asked) == asked
