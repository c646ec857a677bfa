"""Failures, and how images recover from them."""

import asyncio
import time
from typing import Any

from aiohttp import web

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.database import ImagesTable
from tests.conftest import Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT
from tests.serving import serving
from tests.waiting import until
from tests.web.conftest import PASS_ON, Visit

# For metadata the gateway asks COS too, and would get the faults that are meant for the page. An image of known size
# needs none, and for presigned URLs they can be turned off.
SIZE = 'width="80" height="60"'
IDS = ("a", "own")
NO_META = "configureSmartImage({batch: {meta: false}})"
# The gateway answers from memory for a moment after COS failed for an object: some retries fail again.
QUICK = "max-retries=30 retry-delay=200 retry-max-delay=500"


async def test_retry_after_is_respected(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    # The GET of the image, and the HEAD that finds out why it failed.
    fault_at(images, Refuse(headers={"Retry-After": "2"}), times=2, key="objects/a.png")
    began = time.monotonic()
    await visit.open(f'<smart-image id="one" image-id="a" alt="" {SIZE} retry-delay="1"></smart-image>')
    await visit.state("#one", "loaded")
    assert time.monotonic() - began >= 2
    (retry,) = [event[1] for event in await visit.events("one") if event[0] == "retry"]
    assert retry["reason"] == "unavailable"
    assert retry["delay"] >= 2000


async def test_a_dead_url_is_never_requested_again(
    visit: Visit, images: Images, png: bytes, gateway: RunningGateway
) -> None:
    """COS refuses each first URL. The owner gets a new one, and others the permanent address."""
    for image_id, owner in (("a", None), ("own", "alice")):
        await images.add(image_id, png, owner=owner, public=owner is None)
        fault_at(images, Refuse(status=403, code="AccessDenied"), times=1, key=f"objects/{image_id}.png")
    await visit.open(
        "".join(f'<smart-image id="{n}" mode="url" image-id="{n}" alt="" retry-delay="1"></smart-image>' for n in IDS),
        script=f"{NO_META}; configureSmartImage({{getToken: () => '{token_for('alice')}'}})",
    )
    for name in IDS:
        await visit.state(f"#{name}", "loaded")
    at_cos = visit.asked_for(f":{images.cos.port}/")
    assert len(at_cos) == len(set(at_cos)) == 3
    assert await visit.page.evaluate("a.currentSrc") == f"{gateway.ports.public}/i/a"
    assert f":{images.cos.port}/" in await visit.page.evaluate("own.currentSrc")
    assert await visit.page.evaluate("own.expiresAt") > time.time()


async def test_an_expired_link_is_renewed_once(
    visit: Visit, images: Images, images_table: ImagesTable, png: bytes, start_gateway: StartGateway
) -> None:
    await asyncio.to_thread(images_table.create_links)
    visit.gateway = gateway = await start_gateway(**PASS_ON, access={"signed_links": {"keys": {"k": "s" * 32}}})
    await images.add("a", png, owner="alice", public=False)
    made = await gateway.request(
        "POST",
        "/api/v1/images/a/link",
        json={"expires_in": 600},
        headers={"Authorization": f"Bearer {token_for('alice')}"},
    )
    url = made.json()["data"]["url"]
    dead = "/i/a?kid=k&exp=1700000000&sig=" + "A" * 43
    await visit.open(
        f'<smart-image id="one" image-id="a" alt="" link="{gateway.ports.public}{dead}"></smart-image>',
        script=f"""
          window.asked = [];
          configureSmartImage({{getLink: (id, {{renew}}) => (asked.push([id, renew]), "{url}")}});
        """,
    )
    await visit.state("#one", "loaded")
    assert await visit.page.evaluate("asked") == [["a", True]]
    assert await visit.types("one") == ["load", "recover"]
    given = f'<smart-image id="two" image-id="a"><img src="{gateway.ports.public}/i/a" alt=""></smart-image>'
    await visit.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{given}')")
    await visit.state("#two", "loaded")
    assert await visit.page.evaluate("asked") == [["a", True], ["a", False]]

    # As of a page whose visitor has logged out.
    rejects = "({ renew } = {}) => (renew ? Promise.reject(new Error('logged out')) : null)"
    await visit.page.evaluate(f"configureSmartImage({{ getLink: undefined, getToken: {rejects} }})")
    refused = f'<smart-image id="three" image-id="a" alt="" link="{gateway.ports.public}{dead}"></smart-image>'
    await visit.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{refused}')")
    await visit.state("#three", "failed")
    assert (await visit.types("three"), await visit.page.evaluate("three.lastError.kind")) == (["error"], "not_found")
    visit.console_errors.remove("logged out")  # what the page threw is reported

    await visit.page.evaluate("three.remove(), configureSmartImage({ getLink: () => null, getToken: () => null })")
    direct = '<smart-image id="four" image-id="a" alt="" mode="url" width="80" height="60"></smart-image>'
    calls = len(visit.asked_for("POST"))
    await visit.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', '{direct}')")
    await visit.state("#four", "failed")
    assert len(visit.asked_for("POST")) == calls + 1, "a link is not asked for"


async def test_two_hundred_images_survive_a_restart_of_the_gateway_without_a_stampede(
    visit: Visit, images: Images, png: bytes, start_gateway: StartGateway, own_port: int
) -> None:
    for number in range(200):
        await images.add(f"p{number}", png)
    server = {"port": own_port}
    visit.gateway = await start_gateway(**PASS_ON, server=server)
    # The component is loaded before the gateway stops.
    await visit.open("")
    await visit.page.evaluate("customElements.whenDefined('smart-image').then(() => true)")
    await visit.gateway.close()
    await visit.page.evaluate(
        """for (let number = 0; number < 200; number++) document.body.insertAdjacentHTML("beforeend",
             `<smart-image id="s${number}" image-id="p${number}" width="20" height="15" alt=""></smart-image>`)"""
    )
    await visit.until("() => document.querySelectorAll('smart-image:state(retrying)').length === 200")
    visit.asked.clear()
    await visit.page.wait_for_timeout(2000)
    while_down = len(visit.asked)
    assert while_down <= 10
    visit.gateway = await start_gateway(**PASS_ON, server=server)
    visit.asked.clear()
    await visit.all_loaded(200, seconds=3 * LIMIT)
    assert len(visit.asked) <= 220
    retried: list[Any] = await visit.page.evaluate("log.filter(([, type]) => type === 'error')")
    assert retried == []


async def test_a_removed_element_sends_no_more_requests(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    fault_at(images, Refuse(status=500, code="InternalError"), times=None)
    await visit.open(f'<smart-image id="one" image-id="a" alt="" {QUICK}></smart-image>')
    await visit.state("#one", "retrying")
    await visit.page.evaluate("window.gone = one; one.remove()")
    await visit.until("() => gone.state === 'idle'")
    asked = len(visit.asked_for("/i/a"))
    await visit.page.wait_for_timeout(800)
    assert len(visit.asked_for("/i/a")) == asked
    images.cos.faults.clear()
    await visit.page.evaluate("document.body.append(gone)")
    await visit.state("#one", "loaded")


async def test_an_element_that_is_removed_in_flight_tells_nothing(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await visit.hold("**/i/a")
    await visit.open(f'<smart-image id="one" image-id="a" alt="" width="80" height="60" {QUICK}></smart-image>')
    async with visit.page.expect_event("requestfailed"):
        await visit.until("() => one.state === 'loading' && one.querySelector('img').src")
        await visit.page.evaluate("window.gone = one; one.remove()")
        await visit.until("() => gone.state === 'idle'")
        visit.closing.set()
    await visit.page.evaluate("gone.querySelector('img').decode().catch(() => undefined)")
    assert await visit.types("one") == []
    assert len(visit.asked_for("/i/a")) == 1


async def test_an_image_that_takes_too_long_holds_no_request_and_no_memory(
    visit: Visit, images: Images, png: bytes
) -> None:
    """Also while another image is displayed."""
    await images.add("a", png)
    ended: list[str] = []
    visit.page.on("requestfailed", lambda request: ended.append(request.url))
    await visit.hold("**/i/held*")
    await visit.open('<smart-image id="one" image-id="a" alt="" width="80" height="60" max-retries="0"></smart-image>')
    await visit.state("#one", "loaded")
    await visit.page.evaluate("Object.assign(one, {imageId: 'held', timeout: 100})")
    await until(lambda: any("/i/held" in url for url in ended))
    await visit.state("#one", "failed")
    assert await visit.page.evaluate("one.lastError.kind") == "timeout"
    await visit.page.evaluate("""
      window.freed = 0;
      const copies = new FinalizationRegistry(() => freed++);
      const Native = Image;
      window.Image = class extends Native { constructor() { super(); copies.register(this, 0); } };
      Object.assign(one, {imageId: "a", timeout: 0});
    """)
    await visit.state("#one", "loaded")
    await visit.page.evaluate("Object.assign(one, {imageId: 'held2', timeout: 100})")
    await visit.state("#one", "failed")
    devtools = await visit.page.context.new_cdp_session(visit.page)

    async def is_freed() -> bool:
        await devtools.send("HeapProfiler.collectGarbage")
        return bool(await visit.page.evaluate("freed > 0"))

    await until(is_freed)


async def test_a_displayed_image_stays_until_the_next_one_is_loaded(visit: Visit, images: Images, png: bytes) -> None:
    await images.add("a", png)
    await images.add("b", png)
    await visit.open(f'<smart-image id="one" image-id="a" alt="" {QUICK}></smart-image>')
    await visit.state("#one", "loaded")
    fault = fault_at(images, Refuse(status=500, code="InternalError"), times=None, key="objects/b.png")
    await visit.page.evaluate("""
      window.blank = 0;
      new MutationObserver(() => one.querySelector("img").naturalWidth || blank++)
        .observe(one, {subtree: true, attributes: true, childList: true});
      one.imageId = "b";
    """)
    await visit.state("#one", "retrying")
    assert fault.fired
    assert await visit.page.evaluate("one.querySelector('img').src.endsWith('/i/a')")
    images.cos.faults.clear()
    await visit.state("#one", "loaded")
    assert await visit.page.evaluate("one.querySelector('img').src.includes('/i/b')")
    await visit.page.evaluate("one.imageId = 'x'")
    await visit.state("#one", "failed")
    assert await visit.page.evaluate("one.querySelector('img').hasAttribute('src')") is False


def fault_at(images: Images, action: Refuse, **which: Any) -> Any:
    """Inject a fault into COS."""
    return images.cos.faults.add(Fault(action=action, **which))


async def test_images_of_an_origin_that_hides_its_answers_do_not_wait_for_ever(
    visit: Visit, images: Images, png: bytes
) -> None:
    """Without CORS, each answer to a HEAD is an error for the page. Three missing images are no outage."""
    bare = web.Application()

    async def image(request: web.Request) -> web.Response:
        return web.Response(body=png, content_type="image/png") if request.path == "/good" else web.Response(status=404)

    bare.router.add_get("/{name}", image)
    async with serving(bare) as address:
        await visit.open(
            "".join(
                f'<smart-image id="p{number}" src="{address}/{number}" alt="" max-retries="0"></smart-image>'
                for number in range(3)
            )
        )
        for number in range(3):
            await visit.state(f"#p{number}", "failed")
        good = f'<smart-image id="good" src="{address}/good" alt=""></smart-image>'
        await visit.page.evaluate(f"document.body.insertAdjacentHTML('beforeend', `{good}`)")
        await visit.state("#good", "loaded")
        assert await visit.types("good") == ["load"]
    await visit.page.goto("about:blank")
    visit.console_errors.clear()  # Chromium tells each HEAD that it blocks
