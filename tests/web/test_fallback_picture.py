"""``image_proxy.fallback`` in a real browser: what pages show, and what scripts and readers of an address get."""

from pathlib import Path

from tests.conftest import RunningGateway, StartGateway
from tests.web.conftest import Visit, on_one_loop

PICTURE = Path(__file__).parents[2] / "config" / "fallback.svg"


@on_one_loop()
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway with the picture."""
    return await start_gateway(image_proxy={"fallback": {"path": str(PICTURE)}})


async def test_an_img_of_another_site_shows_the_picture_with_the_status_of_the_error(visit: Visit) -> None:
    address = f"{visit.gateway.ports.public}/i/missing"
    async with visit.page.expect_response(address) as response:
        await visit.open(f'<img id="one" src="{address}">')
    assert (await (await response.value).all_headers())["x-error-code"] == "image_not_found"
    assert (await response.value).status == 404
    await visit.until("() => one.complete && one.naturalWidth > 0")


async def test_a_script_and_an_opened_address_get_the_json(visit: Visit) -> None:
    address = f"{visit.gateway.ports.public}/i/missing"
    await visit.open("")
    fetched = await visit.page.evaluate("(url) => fetch(url).then((answer) => answer.json())", address)
    assert fetched["code"] == "image_not_found"
    opened = await visit.page.goto(address)
    assert opened is not None
    assert (opened.status, (await opened.json())["code"]) == (404, "image_not_found")
