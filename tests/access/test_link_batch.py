"""Signed links to many images in one request: ``POST /api/v1/images/links``."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from gateway.api.json_bodies import MAX_IMAGES
from gateway_dev.database import ImageRow, ImagesTable
from tests.access.credentials import ACCESS, bearer, token
from tests.access.deliveries import BODY, reveals_nothing
from tests.conftest import ADMIN_TOKEN, Answer, Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import gradient, opened

PATH = "/api/v1/images/links"
ALICE = bearer(token(exp=int(time.time()) + 3600))
BOB = bearer(token(sub="bob", exp=int(time.time()) + 3600))


async def ask(
    gateway: RunningGateway, image_ids: list[str], headers: Mapping[str, str] = ALICE, *, expires_in: int = 60
) -> Any:
    """Return the data of a response that must be a success."""
    body = {"image_ids": image_ids, "expires_in": expires_in}
    answer = await gateway.request("POST", PATH, json=body, headers=headers)
    assert answer.status == 200
    return answer.json()["data"]


async def code_of_one(gateway: RunningGateway, image_id: str, headers: Mapping[str, str]) -> str | None:
    """Return the error code of a request for one link, None if it is made."""
    answer = await gateway.request("POST", f"/api/v1/images/{image_id}/link", headers=headers, json={"expires_in": 60})
    code: str | None = answer.json().get("code")
    return code


async def test_one_link_opens_every_style_of_its_image(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable
) -> None:
    """The signature covers the path and the expiry, and so no style: ``srcset`` needs one link."""
    styles = {"thumb": "imageMogr2/thumbnail/10x", "card": {"widths": [20, 30], "formats": ["webp"]}}
    gateway = await start_gateway(access=ACCESS, image_styles=styles)
    original = gradient(40, 20)
    await images.add("mine", original, owner="alice", public=False)
    await images.add("other", original, owner="alice", public=False)
    url = (await ask(gateway, ["mine"]))["links"]["mine"]["url"]
    assert (await gateway.get(url)).body == original
    for variant, width in (
        ("style=thumb", 10),
        ("style=card&w=20&format=webp", 20),
        ("style=card&w=25&format=original", 30),
    ):
        assert opened((await gateway.get(f"{url}&{variant}")).body).width == width
        assert (await gateway.get(f"/i/mine?{variant}")).status == 404
        assert (await gateway.get(f"{url.replace('mine', 'other')}&{variant}")).status == 401
    versioned = await gateway.get(f"{url}&style=thumb&v=old")
    assert versioned.status == 302
    answer = await gateway.get(url.partition("?")[0] + versioned.headers["Location"])
    assert (answer.status, answer.headers["Cache-Control"].partition(",")[0]) == (200, "private")


async def test_each_result_equals_a_request_for_that_image(gateway: RunningGateway, images: Images) -> None:
    """The answer is the same for an unknown image and for one of another owner."""
    await images.add("mine", owner="alice", public=False)
    await images.add("open", owner="alice")
    await images.add("deleted", owner="alice", status="deleted")
    image_ids = ["mine", "open", "deleted", "never-there", "-bad"]
    callers: list[dict[str, str]] = [ALICE, BOB, {}, bearer("rubbish"), bearer(ADMIN_TOKEN)]
    for headers in callers:
        for _ in range(2):  # the second time, the ids are cached
            data = await ask(gateway, image_ids, headers)
            for image_id in image_ids:
                assert data["errors"].get(image_id) == await code_of_one(gateway, image_id, headers), image_id
            assert data["links"].keys() | data["errors"].keys() == set(image_ids)
            assert data["errors"].get("mine") in (None, data["errors"]["never-there"])
            assert data["links"].keys() == ({"mine", "open"} if headers == ALICE else set())


async def test_a_link_of_a_batch_counts_killed_links_and_is_killed(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", BODY, owner="alice", public=False)
    for _ in range(2):
        url = (await ask(gateway, ["mine"]))["links"]["mine"]["url"]
        assert (await gateway.get(url)).body == BODY
        killed = await gateway.request("DELETE", "/api/v1/images/mine/links", headers=ALICE)
        assert killed.status == 200
        assert (await gateway.get(url)).status == 401


async def test_200_links_need_one_query(gateway: RunningGateway, images: Images) -> None:
    image_ids = [f"image-{number}" for number in range(MAX_IMAGES)]
    rows = [ImageRow(image_id, "alice", f"{image_id}.png", public=False) for image_id in image_ids[:-1]]
    await asyncio.to_thread(images.table.put, rows)
    counted = ("found", "missing", "error", "unusable")

    def queries() -> float:
        return sum(gateway.sample("catalog_queries_total", result=result) for result in counted)

    before = queries()
    data = await ask(gateway, image_ids)
    assert (len(data["links"]), data["errors"]) == (MAX_IMAGES - 1, {image_ids[-1]: "image_not_found"})
    assert queries() == before + 1


# ``test_link_calls`` has more lifetimes, ``tests/api/test_urls`` more lists of ids.
INVALID = (
    b'{"image_ids": ["mine"]}',
    b'{"expires_in": 60}',
    b'{"image_ids": [], "expires_in": 60}',
    b'{"image_ids": ["mine"], "expires_in": 604801}',
    b'{"image_ids": [' + b'"a",' * MAX_IMAGES + b'"a"], "expires_in": 60}',
)


async def test_an_invalid_body_is_a_400(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    for body in INVALID:
        answer = await gateway.request("POST", PATH, data=body, headers=ALICE)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), body[:40]


async def test_a_batch_with_errors_says_nothing_about_its_duration(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("bobs", owner="bob", public=False)
    for image_ids, has_timing in ((["mine"], True), (["bobs"], False), (["never"], False), (["mine", "bobs"], False)):
        started = time.perf_counter()
        answer = await post(gateway, image_ids)
        assert "Server-Timing" in answer.headers if has_timing else "Server-Timing" not in answer.headers
        assert has_timing or time.perf_counter() - started >= 0.02
        assert reveals_nothing(answer)


async def test_pages_of_other_sites_may_make_links_with_a_token_but_not_with_a_cookie(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)
    cookie = {"Cookie": f"session={token()}", "Sec-Fetch-Site": "cross-site"}
    assert (await ask(gateway, ["mine"], cookie))["errors"] == {"mine": "image_not_found"}


async def post(gateway: RunningGateway, image_ids: list[str]) -> Answer:
    """Ask for links as alice."""
    return await gateway.request("POST", PATH, json={"image_ids": image_ids, "expires_in": 60}, headers=ALICE)
