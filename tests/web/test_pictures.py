"""Images that load, and their requests."""

from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.web.conftest import Visit


async def test_a_load_that_replaces_another_one_begins_with_the_first_attempt(
    visit: Visit, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    await visit.open('<smart-image id="one" image-id="a" alt=""></smart-image>')
    await visit.state("#one", "loaded")
    await visit.page.evaluate("one.reload(); one.reload()")
    await visit.state("#one", "loaded")
    assert await visit.page.evaluate("one.attempt") == 1


async def test_an_img_of_the_page_is_adopted_and_not_requested_again(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    """Also one with a srcset alone."""
    await images.add("a", png)
    await images.add("b", png)
    base = gateway.ports.public
    await visit.open(
        f'<smart-image id="one" image-id="a"><img src="{base}/i/a" alt="Its own"></smart-image>'
        f'<smart-image id="bad" image-id="x"><img src="{base}/i/x" alt=""></smart-image>'
        f'<smart-image id="set" image-id="a"><img srcset="{base}/i/a?2 80w" sizes="80px" alt=""></smart-image>'
        f'<smart-image id="bare"><img srcset="{base}/i/b" alt=""></smart-image>'
        f'<smart-image id="worse"><img srcset="{base}/i/y, {base}/i/z 9x" alt=""></smart-image>'
    )
    for name in ("one", "set", "bare"):
        await visit.state(f"#{name}", "loaded")
    for name in ("bad", "worse"):
        await visit.state(f"#{name}", "failed")
    assert await visit.page.locator("#one img").get_attribute("alt") == "Its own"
    for name in ("set", "bare"):
        img = f"(({{srcset, src}}) => [!!srcset, src])({name}.querySelector('img'))"
        assert await visit.page.evaluate(img) == [True, ""], "it is as the page made it"
        assert await visit.page.evaluate(f"getComputedStyle({name}.querySelector('img')).opacity") == "1"
    for address in ("a", "a?2", "x", "b", "y"):
        assert visit.asked.count(f"GET {base}/i/{address}") == 1
    assert not visit.asked_for("/i/z"), "which no page has loaded: Chromium prefers a picture that it has"


async def test_markup_gets_neither_a_token_nor_a_link_for_another_origin_nor_an_address_by_an_id(
    visit: Visit, images: Images, png: bytes
) -> None:
    """As of a comment that a site has not cleaned: it names a server of the attacker, or climbs out of ``/i/``."""
    await images.add("a", png, owner="alice")
    asked: list[tuple[str, str | None]] = []
    visit.page.on("request", lambda request: asked.append((request.url, request.headers.get("authorization"))))
    evil = visit.site.url
    await visit.open(
        '<smart-image id="own" mode="url" image-id="a" alt="" width="80" height="60"></smart-image>'
        f'<smart-image id="url" mode="url" image-id="a" alt="" base-url="{evil}" max-retries="0"></smart-image>'
        f'<smart-image id="proxy" image-id="a" alt="" base-url="{evil}/x" max-retries="0"></smart-image>'
        '<smart-image id="climbs" image-id="../../admin" alt=""></smart-image>',
        script=f"""window.linked = [];
          const getLink = (id) => (linked.push(id), "kid=k");
          configureSmartImage({{getToken: () => '{token_for("alice")}', getLink}})""",
    )
    await visit.state("#own", "loaded")
    for name in ("url", "proxy", "climbs"):
        await visit.state(f"#{name}", "failed")
    assert await visit.page.evaluate("linked") == []
    calls = [(url.startswith(evil), token is not None) for url, token in asked if "/api/v1/" in url]
    assert set(calls) == {(True, False), (False, True)}
    assert not [url for url, _ in asked if "admin" in url or "kid=" in url]
    assert await visit.types("climbs") == ["error"]
    assert await visit.page.evaluate("climbs.lastError.kind") == "invalid"


async def test_the_style_sheet_reserves_space_before_the_script_runs(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    """On a phone, with an ``<img>`` of the page and without one; texts for slots do not show up meanwhile."""
    await images.add("a", png)
    base = gateway.ports.public
    await visit.page.set_viewport_size({"width": 392, "height": 800})
    img = f'<img src="{base}/i/a" alt="" width="600" height="450">'
    address = visit.site.put(
        "/",
        f"""<link rel="stylesheet" href="{base}/static/smart-image.css">
            <style>html {{ scrollbar-width: none }} body {{ margin: 0 }}</style>
            <script>
              window.log = []; window.shifts = 0;
              new PerformanceObserver((list) => {{ for (const {{value}} of list.getEntries()) shifts += value; }})
                .observe({{type: "layout-shift", buffered: true}});
            </script>
            <smart-image id="one" image-id="a" alt="" width="320" height="240"><b slot="error">Oh</b></smart-image>
            <smart-image id="two" image-id="a" alt="" width="600" height="450" lazy></smart-image>
            <p>Between</p>
            <smart-image id="three" image-id="a">{img}<b slot="loading">Soon</b></smart-image>
            <smart-image id="four" image-id="a" width="600" height="450">{img}</smart-image>
            <smart-image id="gone" image-id="a" alt="" width="320" height="240" hidden></smart-image>
            <p>Below</p>""",
    )
    await visit.page.goto(address, wait_until="load")
    boxes = "[one, two, three, four, gone].map((e) => [e.offsetWidth, e.offsetHeight])"
    expected = [[320, 240], [392, 294], [392, 294], [392, 294], [0, 0]]
    assert await visit.page.evaluate(boxes) == expected
    assert not await visit.page.get_by_text("Oh").is_visible()
    assert not await visit.page.get_by_text("Soon").is_visible()
    await visit.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await visit.page.add_script_tag(url=f"{base}/static/smart-image.js", type="module")
    await visit.page.evaluate("scrollTo(0, 600)")
    await visit.all_loaded(5)
    assert await visit.page.evaluate(boxes) == expected
    assert await visit.page.evaluate("shifts") == 0


async def test_an_image_in_a_slot_is_not_the_picture(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    icon = '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" alt="Icon">'
    await visit.open(
        f"""<smart-image id="one" image-id="a" alt="A" width="80" height="60">
              {icon.replace("<img", '<img slot="placeholder"')}<div slot="error">{icon}</div>
            </smart-image>
            <div slot="outer"><smart-image id="two" image-id="a"><p><img alt="Own"></p></smart-image></div>"""
    )
    await visit.all_loaded(2)
    assert await visit.page.evaluate("[...document.images].map((img) => [img.alt, img.src.slice(-4)])") == [
        ["Icon", "ACw="], ["Icon", "ACw="], ["A", "/i/a"], ["Own", "/i/a"],
    ]  # fmt: skip


async def test_a_src_that_is_no_address_fails(visit: Visit) -> None:
    await visit.open('<smart-image id="one" src="http://" alt="" width="80" height="60" max-retries="0"></smart-image>')
    await visit.state("#one", "failed")
    assert await visit.page.evaluate("one.decode().catch(({kind}) => kind)") == "network"


async def test_a_lazy_image_that_was_loaded_by_reload_is_not_loaded_again_when_it_comes_near(
    visit: Visit, images: Images, png: bytes
) -> None:
    for name in "ab":
        await images.add(name, png)
    await visit.open(
        """<p>Above</p><div style="height: 30000px"></div>
           <smart-image id="one" image-id="a" alt="" width="80" height="60" lazy></smart-image>
           <smart-image id="two" image-id="b" alt="" width="80" height="60" lazy></smart-image>"""
    )
    await visit.until("() => one.state === 'idle' && two.state === 'idle'")
    await visit.page.evaluate("one.reload()")
    await visit.state("#one", "loaded")
    await visit.page.evaluate("two.scrollIntoView()")
    await visit.state("#two", "loaded")
    assert await visit.types("one") == ["load"]


async def test_the_fallback_image_is_displayed_after_a_failure(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    await images.add("fallback", png)
    await visit.open(
        f'<smart-image id="one" image-id="x" alt="" fallback-src="{gateway.ports.public}/i/fallback"></smart-image>'
        f'<smart-image id="two" image-id="x" alt="" fallback-src="{gateway.ports.public}/i/y"></smart-image>'
    )
    await visit.state("#one", "fallback")
    await visit.state("#two", "failed")
    assert await visit.types("one") == ["error"]
    assert await visit.page.evaluate("one.naturalWidth") == 80


async def test_going_back_to_a_page_keeps_its_images(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await visit.open('<smart-image id="one" mode="url" image-id="a" alt=""></smart-image>')
    await visit.state("#one", "loaded")
    await visit.page.evaluate("window.same = true; addEventListener('pageshow', (e) => window.kept = e.persisted)")
    await visit.page.goto(visit.site.put("/other", "<p>Elsewhere</p>"))
    asked = len(visit.asked)
    await visit.page.go_back(wait_until="commit")
    await visit.until("() => window.one?.state === 'loaded'")
    assert await visit.page.evaluate("window.same")  # the page itself, from the back/forward cache
    assert not [line for line in visit.asked[asked:] if "/api/" in line]


async def test_attributes_and_properties_are_in_step(visit: Visit, start_gateway: StartGateway) -> None:
    del start_gateway
    await visit.open('<smart-image id="one" max-retries="5" use-proxy="false" lazy></smart-image>')
    await visit.until("() => one.state === 'idle'")
    assert await visit.page.evaluate("[one.maxRetries, one.retryDelay, one.useProxy, one.lazy, one.imageId]") == [
        5, 1000, False, True, None,
    ]  # fmt: skip
    await visit.page.evaluate("one.styleName = 'card'; one.lazy = false; one.timeout = 500")
    assert await visit.page.evaluate("one.getAttributeNames().sort()") == [
        "id", "max-retries", "style-name", "timeout", "use-proxy",
    ]  # fmt: skip


async def test_an_element_that_was_removed_and_comes_back_for_another_image_never_displays_the_one_before(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    """As in lists that reuse their elements: removed while an image loads, after a failure, or during a change."""
    for name in "abc":
        await images.add(name, png)
    await visit.hold("**/i/held*")
    fallback = f'fallback-src="{gateway.ports.public}/i/c"'
    await visit.open(
        '<smart-image id="loading" image-id="held1" alt="" width="80" height="60"></smart-image>'
        f'<smart-image id="fallen" image-id="x" alt="" width="80" height="60" {fallback}></smart-image>'
        '<smart-image id="changing" image-id="a" alt="" width="80" height="60"></smart-image>'
    )
    await visit.until("() => loading.querySelector('img')?.src")
    await visit.state("#fallen", "fallback")
    await visit.state("#changing", "loaded")
    await visit.page.evaluate("changing.imageId = 'held2'")
    await visit.state("#changing", "loading")
    await visit.page.evaluate("window.gone = [loading, fallen, changing]; for (const image of gone) image.remove()")
    await visit.until("() => gone.every((image) => image.state === 'idle')")
    await visit.page.evaluate("for (const image of gone) image.imageId = 'b'; document.body.append(...gone)")
    await visit.all_loaded(3)
    shown = "gone.map((image) => image.querySelector('img').currentSrc.split('/').pop())"
    assert await visit.page.evaluate(shown) == ["b", "b", "b"]
