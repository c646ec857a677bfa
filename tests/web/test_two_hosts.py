"""Pages of www.example.localhost with private images of img.example.localhost, which a cookie opens."""

import io
import math
import os

import pytest
from PIL import Image

from tests.conftest import JWT_SECRET, Images, StartGateway, token_for
from tests.web.conftest import PASS_ON, Tab, on_one_loop

SIZE = 'width="80" height="60"'
ACCESS = {"jwt": {"secret": JWT_SECRET, "cookie": "session"}}
QUICK_PROBES = "Math.random = () => 0.2"
INCLUDE = 'configureSmartImage({credentials: "include", batch: {meta: false}})'


def host_of(address: str, name: str) -> str:
    """Return the address with the name of a host that browsers resolve to the loopback interface."""
    return address.replace("127.0.0.1", f"{name}.example.localhost")


@on_one_loop()
async def hosts(tab: Tab, start_gateway: StartGateway, images: Images) -> Tab:
    """The tab whose gateway takes a cookie, and lists the origin of the page."""
    tab.site.url, tab.front.url = host_of(tab.site.url, "www"), host_of(tab.front.url, "img")
    gateway = await start_gateway(**PASS_ON, access=ACCESS, server={"cors_origins": [tab.site.url]})
    tab.front.behind = gateway.ports.public
    for image_id in ("own", "second"):
        await images.add(image_id, noise(), owner="alice", public=False, content_type="image/avif")
    return tab


def noise() -> bytes:
    """An AVIF of 300 by 200 pixels that does not get small."""
    out = io.BytesIO()
    Image.frombytes("RGB", (300, 200), os.urandom(300 * 200 * 3)).save(out, "AVIF")
    return out.getvalue()


async def open_page(tab: Tab, *, script: str = "", before: str = "") -> None:
    """Open a page of the visitor alice, whose component is ready."""
    await tab.open("", script=script, before=f"{QUICK_PROBES}; {before}")
    await tab.evaluate(
        f"void (document.cookie = 'session={token_for('alice')}; domain=example.localhost; path=/; samesite=lax')"
    )
    await tab.until("customElements.get('smart-image')")


async def add(tab: Tab, attributes: str) -> None:
    """Add an element to the page."""
    element = f'<smart-image alt="" {SIZE} retry-delay="1" {attributes}></smart-image>'
    await tab.evaluate(f"document.body.insertAdjacentHTML('beforeend', `{element}`)")


@pytest.mark.parametrize("script", ["", INCLUDE], ids=["without credentials", "with credentials"])
async def test_a_lost_answer_is_not_believed_to_be_a_missing_image(hosts: Tab, script: str) -> None:
    """The HEAD that asks why carries no cookie unless the page says so, and 404 is the answer to strangers."""
    await open_page(hosts, script=script)
    hosts.front.cuts = math.inf
    await add(hosts, 'id="one" image-id="own" max-retries="1"')
    await hosts.state("one", "failed")
    assert await hosts.evaluate("one.lastError.kind") == ("network" if script else "not_found")
    assert hosts.front.asked_for("HEAD /i/own")
    hosts.front.cuts = 0
    await hosts.evaluate("dispatchEvent(new Event('pageshow'))")
    await hosts.state("one", "loaded")
    assert await hosts.types("one") == ["retry", "error", "load", "recover"]
    await add(hosts, 'id="missing" image-id="missing" max-retries="0"')
    await hosts.state("missing", "failed")
    assert await hosts.evaluate("[missing.lastError.kind, missing.lastError.status]") == ["not_found", 404]
    assert await hosts.evaluate("missing.lastError.requestId.length") > 0
    assert hosts.front.asked_for("/i/missing") == ["GET /i/missing", "HEAD /i/missing"]


async def test_missing_images_hold_back_no_other_one_and_are_asked_for_again_rarely_or_when_the_page_comes_back(
    hosts: Tab, images: Images
) -> None:
    """What strangers are told says nothing of the gateway, so that nothing waits for it."""
    rare = "ms > 10_000 && ms < 60_000 ? rare.push(work) : later(work, ms)"
    before = f"window.rare = []; const later = setTimeout; setTimeout = (work, ms) => {rare}"
    await open_page(hosts, before=before)
    names = [f"missing{number}" for number in range(10)]
    for name in names:
        await add(hosts, f'id="{name}" image-id="{name}" max-retries="1"')
    await hosts.until("document.querySelectorAll('smart-image:state(loading), smart-image:state(retrying)').length < 7")
    await add(hosts, 'id="one" image-id="own"')
    await hosts.state("one", "loaded")
    assert await hosts.types("one") == ["load"], "it does not wait"
    for name in names:
        await hosts.state(name, "failed")
    await hosts.until(f"rare.length === {len(names)}")
    assert await hosts.evaluate("missing0.lastError.kind") == "not_found"
    once = ["GET /i/missing0", "HEAD /i/missing0", "GET /i/missing0"]
    assert hosts.front.asked_for("/i/missing0") == once, "a stranger would be told the same again"
    await hosts.evaluate("rare[0]()")
    await hosts.until(f"rare.length === {len(names) + 1}")
    assert len(hosts.front.asked_for("/i/missing")) == 3 * len(names) + 1
    await images.add("missing0", noise(), owner="alice", public=False, content_type="image/avif")
    # The gateway remembers for some seconds that there was none.
    await hosts.until("(dispatchEvent(new Event('pageshow')), missing0.state === 'loaded')")
    assert await hosts.types("missing0") == ["retry", "error", "load", "recover"]


async def test_with_credentials_batches_get_the_urls_of_private_images_and_the_page_can_read_them(hosts: Tab) -> None:
    await open_page(hosts, script=INCLUDE)
    for image_id in ("own", "second"):
        await add(hosts, f'id="{image_id}" image-id="{image_id}" mode="url"')
    await add(hosts, 'id="one" image-id="own" crossorigin="use-credentials"')
    for image_id in ("own", "second"):
        await hosts.state(image_id, "loaded")
        assert "sign" in await hosts.evaluate(f"{image_id}.currentSrc")
    assert hosts.front.asked_for("POST /api/v1/images/urls")
    await hosts.state("one", "loaded")
    assert await hosts.evaluate(
        """((context) => {
             context.drawImage(one.querySelector("img"), 0, 0);
             return context.getImageData(0, 0, 1, 1).data[3];
           })(document.createElement("canvas").getContext("2d"))"""
    )
