"""What the component promises, in Chromium, Firefox and WebKit."""

import io
import math
import os
from typing import Any

import pytest
from PIL import Image

from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.waiting import until
from tests.web.conftest import PASS_ON, Tab, on_one_loop

SIZE = 'width="80" height="60"'
STYLES: dict[str, Any] = {"card": {"widths": [480, 1200], "formats": ["original"]}}
CARD = 'style-name="card" widths="480 1200" formats="original" width="1200" height="900"'
DEFINED = "customElements.get('smart-image')"
QUICK_PROBES = "Math.random = () => 0.2"  # random waits are a fifth of the longest

FULL_BUFFER = "performance.setResourceTimingBufferSize(1)"  # as after 250 resources


@pytest.fixture(scope="session")
def photo() -> bytes:
    """An image of 1200 by 900 pixels."""
    out = io.BytesIO()
    Image.new("RGB", (1200, 900), (200, 60, 40)).save(out, "JPEG")
    return out.getvalue()


def noise(format_: str) -> bytes:
    """An image of 300 by 200 pixels that does not get small."""
    out = io.BytesIO()
    Image.frombytes("RGB", (300, 200), os.urandom(300 * 200 * 3)).save(out, format_)
    return out.getvalue()


@on_one_loop()
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with a style that hides no faults of COS."""
    return await start_gateway(**PASS_ON, image_styles=STYLES)


@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_an_image_is_displayed_as_long_as_its_element_has_an_id(
    tab: Tab, images: Images, png: bytes, loading: str
) -> None:
    await images.add("a", png)
    await tab.open(f'<smart-image id="one" image-id="a" alt="A gradient" loading="{loading}"></smart-image>')
    await tab.state("one", "loaded")
    assert await tab.types("one") == ["load"]
    changes = "log.filter(([, type]) => type === 'statechange').map(([, , {to}]) => to)"
    assert await tab.evaluate(changes) == ["loading", "loaded"]
    assert await tab.evaluate("[one.naturalWidth, one.complete, one.attempt]") == [80, True, 1]
    assert await tab.evaluate("one.matches(':state(loaded)') && one.decode().then(() => true)")
    assert await tab.evaluate("one.querySelector('img').alt") == "A gradient"
    assert len(tab.front.asked_for("GET /i/a")) == 1
    is_removed = "one.state === 'idle' && !one.querySelector('img').hasAttribute('src')"
    await tab.evaluate("one.removeAttribute('image-id')")
    await tab.until(is_removed)
    await tab.evaluate("one.reload()")
    assert await tab.evaluate("one.state") == "idle"
    await tab.evaluate("void (one.imageId = 'a')")
    await tab.state("one", "loaded")
    assert len(tab.front.asked_for("GET /i/a")) <= 2
    assert await tab.types("one") == ["load", "load"]
    tab.front.hold("/i/b")
    another = f'<smart-image id="one" image-id="b" alt="" loading="{loading}"></smart-image>'
    for begin in ("one.imageId = 'b'", f"document.body.innerHTML = '{another}'"):
        await tab.evaluate(f"void ({begin})")
        await tab.until("one.state === 'loading'")
        await tab.evaluate("void (window.removed = one, one.remove())")
        await tab.until("removed.state === 'idle'")
        await tab.evaluate("void (removed.imageId = null, document.body.append(removed))")
        await tab.until(is_removed)


async def test_a_fallback_that_comes_after_the_outage_takes_no_image_away(tab: Tab, images: Images, png: bytes) -> None:
    for name in "abcd":
        await images.add(name, png)
    minute = (
        "const later = setTimeout; setTimeout = (work, ms, ...rest) => later(work, ms === 60_000 ? 50 : ms, ...rest)"
    )
    await tab.open("", before=f"{QUICK_PROBES}; {minute}")
    await tab.until(DEFINED)
    tab.front.is_down = True
    for name in "abc":
        await add(tab, f'<smart-image id="{name}" image-id="{name}" alt="" {SIZE} max-retries="0"></smart-image>')
    release = tab.front.hold("/i/a?fallback")
    fallback = f'fallback-src="{tab.front.url}/i/a?fallback"'
    await add(tab, f'<smart-image id="one" image-id="d" alt="" {SIZE} {fallback}></smart-image>')
    await until(lambda: tab.front.asked_for("/i/a?fallback"), what="the fallback after a minute")
    tab.front.is_down = False
    await tab.state("one", "loaded")
    release()
    await tab.evaluate("new Promise((done) => later(done, 500))")
    assert await tab.evaluate("[one.state, one.currentSrc]") == ["loaded", f"{tab.front.url}/i/d"]
    assert "error" not in await tab.types("one")


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
    await tab.open("", before=QUICK_PROBES)
    await tab.until(DEFINED)
    tab.front.is_down = True
    for name in "ab":
        await add(tab, f'<smart-image id="{name}" image-id="{name}" alt="" {SIZE} max-retries="0"></smart-image>')
        await tab.state(name, "failed")
    sent = len(tab.front.seen)
    await until(lambda: len(tab.front.seen) >= sent + 3)
    assert not [entry for entry in tab.front.seen[sent:] if "/i/" in entry], "a probe costs no bytes"
    tab.front.is_down = False
    for name in "ab":
        await tab.state(name, "loaded")
        assert await tab.types(name) == ["error", "load", "recover"]
    sent = len(tab.front.seen)
    await tab.evaluate("new Promise((done) => setTimeout(done, 1500))")
    assert len(tab.front.seen) == sent, "nothing is probed on a page that is well"


async def test_a_page_that_stays_open_recovers_from_an_outage_that_brings_another_version(
    tab: Tab, images: Images, png: bytes
) -> None:
    """The new version has other files with what a failure and another image need: a page has them after a minute."""
    for name in "abcde":
        await images.add(name, png)
    minute = (
        "const later = setTimeout; setTimeout = (work, ms, ...rest) => later(work, ms === 60_000 ? 0 : ms, ...rest)"
    )
    shown = f'<smart-image id="shown" image-id="d" alt="" {SIZE}></smart-image>'
    await tab.open(shown, before=f"{QUICK_PROBES}; {minute}")
    await tab.state("shown", "loaded")
    for name in ("calls", "guard"):
        await until(lambda name=name: tab.front.asked_for(f"/static/smart-image-{name}"))  # type: ignore[misc]
    await tab.evaluate("new Promise((done) => later(done, 200))")
    for path in {entry.split()[1] for entry in tab.front.asked_for("/static/smart-image-")}:
        tab.front.pages[path] = "There is no such file"
    await tab.evaluate("void (shown.imageId = 'e')")
    await tab.until("shown.state === 'loaded' && shown.currentSrc.endsWith('/i/e')")
    tab.front.is_down = True
    for name in "abc":
        await add(tab, f'<smart-image id="{name}" image-id="{name}" alt="" {SIZE} max-retries="0"></smart-image>')
    await tab.until("document.querySelectorAll(':state(failed), :state(retrying)').length === 3")
    tab.front.is_down = False
    for name in "abc":
        await tab.state(name, "loaded")


@pytest.mark.parametrize(
    ("formats", "is_own_origin"),
    [({"AVIF": "", "PNG": 'crossorigin="anonymous"'}, False), ({"JPEG": "", "jpeg": CARD}, True)],
    ids=["another origin", "own origin"],
)
@pytest.mark.parametrize("before", ["", FULL_BUFFER], ids=["", "full buffer"])
async def test_an_answer_that_breaks_off_is_no_answer_and_the_image_heals(
    tab: Tab, images: Images, formats: dict[str, str], is_own_origin: bool, before: str
) -> None:
    """Also where the browser displays the half. Firefox cannot tell a JPEG of another origin without CORS."""
    await tab.open("", before=f"{QUICK_PROBES}; {before}", is_own_origin=is_own_origin)
    await tab.until(DEFINED)
    await tab.evaluate("imageProxy.meta('a').catch(() => undefined)")  # loads what a page has after a minute
    tab.front.cuts = math.inf
    for name, attributes in formats.items():
        await images.add(name, noise(name.upper()), content_type=f"image/{name.lower()}")
        given = f'{SIZE} max-retries="1" {attributes}'
        await add(tab, f'<smart-image id="{name}" image-id="{name}" alt="" {given}></smart-image>')
    for name in formats:
        await tab.state(name, "failed")
        assert await tab.evaluate(f"{name}.lastError.kind") == "network"
        sent = len(tab.front.asked_for(f"GET /i/{name}"))
        await until(lambda name=name, sent=sent: len(tab.front.asked_for(f"GET /i/{name}")) > sent)  # type: ignore[misc]
        assert await tab.evaluate(f"{name}.state") != "loaded", "it stays half an image"
    tab.front.cuts = 0
    for name in formats:
        await tab.state(name, "loaded")
        assert await tab.types(name) == ["retry", "error", "load", "recover"]
        assert await tab.evaluate(f"{name}.decode().then(() => {name}.lastError)") is None


async def test_one_answer_that_breaks_off_is_not_taken_for_a_broken_image(tab: Tab, images: Images) -> None:
    """WebKit asks again by itself, and tells of that answer alone."""
    await tab.open("", is_own_origin=True)
    await tab.until(DEFINED)
    tab.front.cuts = 1
    await images.add("a", noise("JPEG"), content_type="image/jpeg")
    await add(tab, f'<smart-image id="one" image-id="a" alt="" {SIZE} {CARD}></smart-image>')
    await tab.state("one", "loaded")
    retries = "log.filter(([, type]) => type === 'retry')"
    assert await tab.evaluate(f"{retries}.map(([, , {{reason}}]) => reason)") == ["network"]


@pytest.mark.parametrize("before", ["", FULL_BUFFER], ids=["", "full buffer"])
async def test_bytes_that_are_no_image_are_tried_a_few_times(tab: Tab, images: Images, before: str) -> None:
    """The whole answer came, so it will not get better."""
    await images.add("a", b"x" * 9_000)
    await tab.open("", before=before, is_own_origin=True)
    await tab.until(DEFINED)
    await tab.evaluate("imageProxy.meta('b').catch(() => undefined)")  # loads what a page has after a minute
    await add(tab, f'<smart-image id="one" image-id="a" alt="" {SIZE} max-retries="1" retry-delay="1"></smart-image>')
    # Firefox on a busy machine may not tell at once how many bytes came; then it takes another attempt.
    await tab.until("one.state === 'failed' && one.lastError.kind === 'decode'")


@pytest.mark.parametrize("is_late", [False, True], ids=["guard in time", "guard late"])
async def test_a_displayed_image_stays_when_the_window_is_resized_during_an_outage(
    tab: Tab, images: Images, photo: bytes, is_late: bool
) -> None:
    """The browser chooses a larger one, which cannot be loaded, and gets it after the outage.

    What guards the image may be loaded after the browser chose.
    """
    held = [tab.front.hold(f"/i/{name}?style=card&w=1200") for name in ("one", "two")]
    release_guard = tab.front.hold("/static/smart-image-guard")
    for name in ("one", "two"):
        await images.add(name, photo, content_type="image/jpeg")
    count = """
      window.guards = 0;
      const listen = addEventListener;
      addEventListener = (type, ...rest) => { if (type === "resize") guards++; listen(type, ...rest); };
    """
    await tab.open("<style>smart-image { display: block }</style>", before=f"{QUICK_PROBES}; {count}")
    await tab.until(DEFINED)
    await tab.window.resize(460, 600)
    await add(tab, f'<smart-image id="one" image-id="one" alt="" {CARD} sizes="100vw"></smart-image>')
    await add(tab, f'<smart-image id="two" image-id="two" alt="" {CARD} lazy></smart-image>')
    for name in ("one", "two"):
        await tab.state(name, "loaded")
        assert "w=480" in await tab.evaluate(f"{name}.currentSrc")
    if not is_late:
        release_guard()
        await tab.until("guards")
    await tab.window.resize(1100, 700)
    await until(lambda: tab.front.asked_for("/i/two?style=card&w=1200"))
    release_guard()
    await tab.until("guards")
    tab.front.is_down = True
    before = len(tab.front.seen)
    for release in held:
        release()

    def are_probed() -> bool:
        """Probes come after the failure. Each begins with the module that sends it, unless that is loaded already."""
        return len([seen for seen in tab.front.seen[before:] if "smart-image-calls" in seen or "HEAD" in seen]) >= 2

    await until(are_probed, what="two probes")
    stays = "{0}.state === 'loaded' && {0}.naturalWidth > 0 && /w=480/.test({0}.currentSrc)"
    for name in ("one", "two"):
        await tab.until(stays.format(name))
    asked = len(tab.front.asked_for("/i/two?style=card&w=1200"))
    await tab.evaluate("dispatchEvent(new Event('online'))")
    await until(lambda: len(tab.front.asked_for("/i/two?style=card&w=1200")) > asked)
    for name in ("one", "two"):
        await tab.until(stays.format(name))
    tab.front.is_down = False
    # WebKit chooses again for lazy images only.
    for name in [name for name in ("one", "two") if tab.front.asked_for(f"GET /i/{name}?style=card&w=1200")]:
        await tab.until(f"{name}.naturalWidth > 0 && /w=1200/.test({name}.currentSrc)")
    for name in ("one", "two"):
        assert await tab.types(name) == ["load"]


async def test_a_displayed_image_asks_a_few_times_for_another_width_that_is_refused_and_again_a_minute_later(
    tab: Tab, images: Images, photo: bytes
) -> None:
    """As when its link has ended. A probe that is refused says that the gateway answers."""
    await images.add("one", photo, content_type="image/jpeg")
    minute = (
        "const later = setTimeout; setTimeout = (go, ms, ...more) => ms === 60000 ? pass = go : later(go, ms, ...more)"
    )
    await tab.open("<style>smart-image { display: block }</style>", before=f"{QUICK_PROBES}; var pass; {minute}")
    await tab.until(DEFINED)
    await tab.window.resize(460, 600)
    await add(tab, f'<smart-image id="one" image-id="one" alt="" {CARD} lazy></smart-image>')
    await tab.state("one", "loaded")
    await images.execute("DELETE FROM images WHERE id = 'one'")
    await tab.gateway.forget_everywhere("one")
    await tab.window.resize(1100, 700)
    wide = "GET /i/one?style=card&w=1200"
    await until(lambda: len(tab.front.asked_for(wide)) >= 4)
    sent = 0
    while len(tab.front.asked_for(wide)) > sent:
        sent = len(tab.front.asked_for(wide))
        assert sent < 12, "it does not come to an end"  # WebKit asks twice
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await tab.evaluate("new Promise((done) => setTimeout(done, 1500))")
    await tab.until("one.state === 'loaded' && one.naturalWidth > 0 && /w=480/.test(one.currentSrc)")
    await images.add("one", photo, content_type="image/jpeg")
    await tab.gateway.forget_everywhere("one")
    await tab.evaluate("pass()")
    await tab.until("one.naturalWidth > 0 && /w=1200/.test(one.currentSrc)")


async def test_a_changed_id_displays_what_was_decoded(tab: Tab, images: Images, photo: bytes) -> None:
    """One image is loaded, and the one before stays until then."""
    kinds = ("", "lazy", 'sizes="300px"', 'sizes="auto" lazy')
    for number in range(len(kinds)):
        for name in (f"a{number}", f"b{number}"):
            await images.add(name, photo, content_type="image/jpeg")
    await tab.open(
        "<style>smart-image { display: inline-block; width: 300px !important }</style>"
        + "".join(
            f'<smart-image id="p{number}" image-id="a{number}" alt="" {CARD} {attributes}></smart-image>'
            for number, attributes in enumerate(kinds)
        )
    )
    for number in range(len(kinds)):
        await tab.state(f"p{number}", "loaded")
    tab.front.delay = 0.2
    await tab.evaluate(
        """(() => {
             window.blank = 0;
             const all = [...document.querySelectorAll("smart-image")];
             const imgs = all.map((image) => image.querySelector("img"));
             setInterval(() => { for (const img of imgs) img.complete && img.naturalWidth || blank++; }, 5);
             for (const image of all) image.imageId = image.imageId.replace("a", "b");
           })()"""
    )
    for number in range(len(kinds)):
        await tab.until(f"p{number}.state === 'loaded' && p{number}.currentSrc.includes('/i/b{number}')")
        assert len(tab.front.asked_for(f"/i/b{number}")) == 1, kinds[number]
    assert await tab.evaluate("blank") == 0


@pytest.mark.parametrize("hours", [2, 0], ids=["ended", "withdrawn"])
async def test_an_expired_url_is_renewed_at_once_and_is_no_failure_of_the_gateway(
    tab: Tab, images: Images, png: bytes, hours: int
) -> None:
    """COS refuses three URLs whose time ends while they wait, or before it ends by the browser's clock.

    The page of another origin is not told the status.
    """
    for name in "abc":
        await images.add(name, png)
        images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=f"objects/{name}.png"))
    await tab.open(
        "".join(
            f'<smart-image id="{name}" image-id="{name}" mode="url" alt="" {SIZE} {retries}></smart-image>'
            for name, retries in {"a": "", "b": "", "c": 'max-retries="0"'}.items()
        ),
        script="configureSmartImage({batch: {meta: false}})",
        # The hours pass between the answer with the URLs and the error.
        before=f"""
          const now = Date.now, later = () => {{ Date.now = () => now() + {hours} * 3600e3; }};
          addEventListener("error", later, {{capture: true, once: true}});
        """,
    )
    for name in "abc":
        await tab.state(name, "loaded")
        assert await tab.types(name) == ["load", "recover"]
        assert await tab.evaluate(f"{name}.attempt") == 2
    assert not tab.front.asked_for("HEAD")
    assert not tab.front.asked_for("/healthz")


async def test_a_missing_image_is_not_found_on_the_origin_of_the_gateway_too(tab: Tab) -> None:
    await tab.open(f'<smart-image id="one" image-id="x" alt="" {SIZE}></smart-image>', is_own_origin=True)
    await tab.state("one", "failed")
    assert await tab.types("one") == ["error"]
    error = await tab.evaluate("JSON.parse(JSON.stringify(one.lastError))")
    assert sorted(error) == ["kind", "name", "requestId", "retryAfter", "status"]
    assert (error["kind"], error["status"]) == ("not_found", 404)
    assert await tab.evaluate("one.decode().catch(({kind}) => kind)") == "not_found"
    assert len(tab.front.asked_for("GET /i/x")) == 1


async def test_what_the_page_configures_later_starts_again_what_has_failed_elsewhere(
    tab: Tab, images: Images, png: bytes
) -> None:
    """A framework may define the element, which upgrades the tags of the server, before it configures the gateway."""
    for name in ("a", "b", "own"):
        await images.add(name, png)
    set_by_page = f'<img src="{tab.front.url}/i/b" alt="" {SIZE}>'
    await tab.open(
        f'<smart-image id="one" image-id="a" alt="" {SIZE}></smart-image>'
        f'<smart-image id="two" image-id="b" alt="" {SIZE}>{set_by_page}</smart-image>'
        f'<smart-image id="own" image-id="own" base-url="{tab.front.url}" alt="" {SIZE}></smart-image>',
        script="configureSmartImage({baseUrl: location.origin})",
    )
    for name, state in (("one", "failed"), ("two", "loaded"), ("own", "loaded")):
        await tab.state(name, state)
    await tab.evaluate(f"configureSmartImage({{baseUrl: '{tab.front.url}'}})")
    await tab.state("one", "loaded")
    assert await tab.types("one") == ["error", "load"]
    await tab.evaluate("configureSmartImage({baseUrl: location.origin})")
    for name in ("two", "own"):
        assert await tab.types(name) == ["load"], "what is displayed stays"
    assert len(tab.front.asked_for("/i/own")) == len(tab.front.asked_for("/i/b")) == 1


@pytest.mark.parametrize("state", ["failed", "retrying", "loading"])
async def test_another_user_starts_again_what_is_not_displayed(
    tab: Tab, images: Images, png: bytes, state: str
) -> None:
    """The image is not the one that the link of the user before opens."""
    for name in "ab":
        await images.add(name, png)
    await tab.open("", script=f"configureSmartImage({{getLink: () => '{tab.front.url}/i/a'}})")
    await tab.until(DEFINED)
    if state == "loading":
        tab.front.hold("/i/a")
    tab.front.is_down = state != "loading"
    quick = f'max-retries="{30 if state == "retrying" else 0}" retry-delay="100" retry-max-delay="300"'
    await add(tab, f'<smart-image id="one" image-id="x" alt="" {SIZE} {quick}></smart-image>')
    await until(lambda: tab.front.asked_for("GET /i/a"))
    await tab.state("one", state)
    await tab.evaluate(f"configureSmartImage({{getLink: () => '{tab.front.url}/i/b'}})")
    tab.front.is_down = False
    await tab.state("one", "loaded")
    assert await tab.evaluate("one.currentSrc") == f"{tab.front.url}/i/b"


@pytest.mark.parametrize(("options", "is_down"), [("", False), ("", True), ("{fresh: true}", False)])
async def test_a_displayed_image_goes_when_it_is_refused_but_not_in_an_outage(
    tab: Tab, images: Images, png: bytes, options: str, is_down: bool
) -> None:
    """As after another user has signed in. The image is the one that the link of the user before opens."""
    await images.add("a", png)
    await tab.open(
        f'<smart-image id="one" image-id="x" alt="" {SIZE} max-retries="0"></smart-image>',
        script=f"configureSmartImage({{getLink: () => '{tab.front.url}/i/a'}})",
        before=QUICK_PROBES,
    )
    await tab.state("one", "loaded")
    tab.front.is_down = is_down
    await tab.evaluate(f"(configureSmartImage({{getLink: () => null}}), one.reload({options}))")
    if is_down:
        await tab.state("one", "failed")
        assert await tab.evaluate("one.currentSrc") == f"{tab.front.url}/i/a"
        tab.front.is_down = False
    await tab.until("one.state === 'failed' && one.lastError.kind === 'not_found'")
    assert not await tab.evaluate("one.querySelector('img').hasAttribute('src')")
    kinds = "one.addEventListener('statechange', () => kinds.push(one.lastError?.kind ?? null))"
    await tab.evaluate(f"void (window.kinds = [], {kinds}, one.imageId = 'a')")
    await tab.state("one", "loaded")
    assert await tab.evaluate("kinds") == [None, None], "the failure of another image"


async def test_an_address_that_never_answers_is_late_after_a_minute(tab: Tab, images: Images, png: bytes) -> None:
    await images.add("a", png)
    release = tab.front.hold("/i/a")
    await tab.open(
        "",
        before="""
          window.limits = [];
          window.hurry = 200;
          const every = setInterval;
          setInterval = (end, ms) => (limits.push(ms), every(end, ms / hurry));
        """,
    )
    await add(tab, f'<smart-image id="one" image-id="a" alt="" {SIZE} max-retries="0"></smart-image>')
    await tab.state("one", "failed")
    assert await tab.evaluate("[limits[0], one.timeout, one.lastError.kind]") == [60_000, 60_000, "timeout"]
    fallback = f'fallback-src="{tab.front.url}/i/a"'
    await tab.evaluate("window.hurry = 20")  # the first answer must not be late on a busy machine
    await add(tab, f'<smart-image id="two" image-id="missing" alt="" {SIZE} {fallback}></smart-image>')
    await tab.state("two", "failed")
    assert await tab.evaluate("two.lastError.kind") == "not_found", "the fallback is late, too"
    release()


async def test_a_lazy_image_that_the_browser_has_not_requested_yet_is_not_late(
    tab: Tab, images: Images, photo: bytes
) -> None:
    """Browsers defer a lazy `<img>` until it is near; Firefox and WebKit begin later than the element."""
    for name in ("given", "near"):
        await images.add(name, photo, content_type="image/jpeg")
    img = f'<img src="{tab.front.url}/i/given" alt="" loading="lazy" {SIZE}>'
    await tab.open(
        "<style>body { margin: 0; padding-top: calc(100vh + 900px) } smart-image { display: block }</style>"
        f'<smart-image id="near" image-id="near" alt="" {CARD} lazy max-retries="0"></smart-image>'
        '<div style="height: 30000px"></div>'
        f'<smart-image id="given" image-id="given" alt="" {SIZE} lazy max-retries="0">{img}</smart-image>',
        before="""
          window.ends = 0;
          const every = setInterval;
          setInterval = (end) => every(() => { if (!window.isScrolled) ends++, end(); }, 50);
        """,
    )
    await tab.until("ends >= 20")
    assert "failed" not in await tab.evaluate("[near.state, given.state]")
    await tab.evaluate("isScrolled = true")
    for name in ("near", "given"):
        await tab.evaluate(f"{name}.scrollIntoView()")
        await tab.state(name, "loaded")
        assert await tab.types(name) == ["load"]


async def test_a_lazy_picture_of_a_style_has_its_address_before_the_page_is_printed(
    tab: Tab, images: Images, photo: bytes
) -> None:
    """The widths of the style would have to be asked for."""
    await images.add("a", photo)
    lazy = f'<smart-image id="one" image-id="a" style-name="card" alt="" {SIZE} lazy></smart-image>'
    await tab.open(f'<div style="height: 9000px"></div>{lazy}')
    await tab.until(f"{DEFINED} && one.querySelector('img')")
    source = await tab.evaluate(
        """(async () => {
             dispatchEvent(new Event("beforeprint"));
             for (let turn = 0; turn < 50; turn++) await null; // no task of the browser
             return one.querySelector("img").src;
           })()"""
    )
    assert source == f"{tab.front.url}/i/a?style=card"
    await tab.state("one", "loaded")


@pytest.mark.parametrize("scripts", ["{gateway}", "'none'"], ids=["scripts", "no scripts"])
async def test_the_strictest_policy_shows_pictures_with_scripts_and_without(
    tab: Tab, images: Images, png: bytes, scripts: str
) -> None:
    await images.add("a", png)
    gateway = tab.front.url
    policy = (
        f"default-src 'none'; style-src {gateway}; img-src {gateway}; connect-src {gateway}; base-uri 'none'; "
        f"script-src {scripts.format(gateway=gateway)}; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    page = f"""
      <meta http-equiv="Content-Security-Policy" content="{policy}">
      <link rel="stylesheet" href="{gateway}/static/smart-image.css">
      <script type="module" src="{gateway}/static/smart-image.js"></script>
      <smart-image id="one" image-id="a" {SIZE}><img src="{gateway}/i/a" alt="A" {SIZE}></smart-image>
      <smart-image id="missing" image-id="x" alt="X" {SIZE}></smart-image>"""
    await tab.window.open(tab.site.put("/strict", page))
    await tab.until("one.querySelector('img').naturalWidth === 80")
    assert await tab.evaluate("[one.offsetWidth, one.offsetHeight]") == [80, 60]
    if scripts != "'none'":
        await tab.state("one", "loaded")
        await tab.state("missing", "failed")
        await tab.until("missing.shadowRoot.querySelector('[part=message]').textContent.length > 1")


async def test_what_is_below_the_first_screen_waits_until_the_page_has_loaded(
    tab: Tab, images: Images, photo: bytes
) -> None:
    """Otherwise it shares a slow network with the pictures that the visitor sees."""
    for name in ("hero", "seen", "below"):
        await images.add(name, photo, content_type="image/jpeg")
    release = tab.front.hold("/i/hero")
    await tab.open(
        f"""<smart-image id="hero" image-id="hero" alt="" {SIZE} priority></smart-image>
            <smart-image id="seen" image-id="seen" alt="" {SIZE} lazy></smart-image>
            <div style="height: 100vh"></div>
            <smart-image id="below" image-id="below" alt="" {SIZE} lazy></smart-image>""",
        before="""
          window.ahead = [];
          const later = setTimeout;
          setTimeout = (work, delay) => delay === 1000 ? ahead.push(work) : later(work, delay);
        """,
    )
    await tab.until("ahead.length === 1 && hero.state === 'loading'")
    assert await tab.evaluate("seen.state") == "idle", "for a second at most"
    await tab.evaluate("ahead[0]()")
    await tab.state("seen", "loaded")
    assert await tab.evaluate("[hero.state, below.state, document.readyState]") == ["loading", "idle", "interactive"]
    release()
    await tab.state("below", "loaded")
    assert await tab.evaluate("[hero.state, scrollY]") == ["loaded", 0]


async def test_a_fresh_reload_costs_at_most_two_requests(
    tab: Tab, gateway: RunningGateway, images: Images, photo: bytes
) -> None:
    names = {"sized": SIZE, "card": CARD, "versioned": f"{CARD} version=VERSION"}
    for name in names:
        await images.add(name, photo, content_type="image/jpeg")
    version = (await gateway.get("/api/v1/images/versioned/meta")).json()["data"]["version"]
    await tab.open(
        "".join(
            f'<smart-image id="{name}" image-id="{name}" alt="" {attributes.replace("VERSION", version)}></smart-image>'
            for name, attributes in names.items()
        )
    )
    for name in names:
        await tab.state(name, "loaded")
    tab.front.seen.clear()
    out = io.BytesIO()
    Image.new("RGB", (600, 450), (20, 60, 200)).save(out, "JPEG")
    for name in names:
        images.cos.store.put(BUCKET, f"objects/{name}.png", out.getvalue(), content_type="image/jpeg")
        await tab.evaluate(f"{name}.reload({{fresh: true}})")
    for name in names:
        await tab.until(f"{name}.state === 'loaded' && {name}.naturalWidth <= 600")
        assert 1 <= len(tab.front.asked_for(f"/i/{name}")) <= 2, name


async def test_elements_of_one_image_show_the_same_bytes_after_one_is_reloaded_fresh(
    tab: Tab, images: Images, photo: bytes
) -> None:
    """Also one that the page adds later."""
    await images.add("a", photo, content_type="image/jpeg")
    element = '<smart-image id="{0}" image-id="a" alt="" {1}></smart-image>'
    await tab.open(element.format("one", SIZE) + element.format("two", SIZE) + element.format("card", CARD))
    for name in ("one", "two", "card"):
        await tab.state(name, "loaded")
    out = io.BytesIO()
    Image.new("RGB", (600, 450), (20, 60, 200)).save(out, "JPEG")
    images.cos.store.put(BUCKET, "objects/a.png", out.getvalue(), content_type="image/jpeg")
    await tab.evaluate("two.reload({fresh: true})")
    for name in ("one", "two", "card"):
        await tab.until(f"{name}.state === 'loaded' && {name}.naturalWidth <= 600")
    await add(tab, element.format("late", SIZE))
    await tab.state("late", "loaded")
    assert await tab.evaluate("late.naturalWidth") == 600
    sent = len(tab.front.seen)
    await tab.evaluate("new Promise((done) => setTimeout(done, 500))")
    assert len(tab.front.seen) == sent, "it comes to an end"


async def test_without_a_feature_of_the_browser_the_image_of_the_page_stays(
    tab: Tab, images: Images, png: bytes
) -> None:
    await images.add("a", png)
    for remove in (
        "delete AbortSignal.any",
        "delete HTMLElement.prototype.attachInternals",
        "delete CSSStyleSheet.prototype.replaceSync",
    ):
        await tab.open(
            f'<smart-image id="one" image-id="a" {SIZE}><img src="{tab.front.url}/i/a" alt="Its own"></smart-image>',
            script="window.isReady = true",
            before=remove,
        )
        await tab.until("window.isReady && one.querySelector('img').naturalWidth === 80")
        assert await tab.evaluate("[one.childElementCount, one.shadowRoot, one.state ?? null]") == [1, None, None]


async def add(tab: Tab, html: str) -> None:
    """Add elements to the page."""
    await tab.evaluate(f"document.body.insertAdjacentHTML('beforeend', `{html}`)")
