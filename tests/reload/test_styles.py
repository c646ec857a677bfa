"""A reload changes the styles: nothing that was made by an old rule, or for another audience, is served any more."""

import asyncio
from typing import Any

import pytest

from gateway.catalog.record import ImageRecord
from gateway.errors import UnknownStyle
from gateway.presign.style_variants import Renditions
from gateway_dev.cos_emulator.faults import Drip, Fault
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.reload.proofs import proves
from tests.reload.test_access import purge
from tests.stories.test_variants import photo, picture
from tests.valve import Valve
from tests.waiting import until, until_counted

SMALL, LARGE = "imageMogr2/thumbnail/100x100", "imageMogr2/thumbnail/200x200"
CARD: dict[str, Any] = {"widths": [160], "formats": ["webp"]}
TEASER: dict[str, Any] = {"widths": [32], "formats": ["webp"]}


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway with two styles, a public image ``cat``, and a private one of alice, ``mine``."""
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    return await start_gateway(image_styles={"thumb": SMALL, "card": CARD}, url_cache={"local_ttl": 3600})


@proves("image_styles")
async def test_a_new_style_is_served_and_a_removed_one_is_not(gateway: RunningGateway) -> None:
    assert (await gateway.get("/i/cat?style=thumb")).status == 200
    assert (await gateway.get("/i/cat?style=fresh")).json()["code"] == "unknown_style"
    await gateway.reload(image_styles={"fresh": LARGE})
    assert picture((await gateway.get("/i/cat?style=fresh")).body).width == 200
    for gone in ("style=thumb", "style=card&w=160&format=webp"):
        answer = await gateway.get(f"/i/cat?{gone}")
        assert (answer.status, answer.json()["code"]) == (400, "unknown_style")


async def test_a_changed_rule_is_used_at_once_and_the_old_bytes_and_urls_are_not(
    gateway: RunningGateway, cos: CosEmulator
) -> None:
    old = await gateway.get("/i/cat?style=thumb")
    assert "hit" in (await gateway.get("/i/cat?style=thumb")).headers["Cache-Status"]
    card = await gateway.get("/i/cat?style=card&w=160&format=webp")
    await gateway.reload(image_styles={"thumb": LARGE, "card": CARD})
    new = await gateway.get("/i/cat?style=thumb")
    assert (picture(old.body).width, picture(new.body).width) == (100, 200)
    assert new.headers["ETag"] != old.headers["ETag"]
    assert LARGE in cos.request_log.requests[-1].query
    # What has not changed stays in memory.
    again = await gateway.get("/i/cat?style=card&w=160&format=webp")
    assert "hit" in again.headers["Cache-Status"]
    assert again.body == card.body
    # And back again: the bytes of the rule in between are not served either.
    await gateway.reload(image_styles={"thumb": SMALL})
    assert picture((await gateway.get("/i/cat?style=thumb")).body).width == 100


async def test_requests_under_way_end_well_and_leave_nothing_of_the_old_rules(
    gateway: RunningGateway, cos: CosEmulator
) -> None:
    cos.faults.add(Fault(action=Drip(size=100, every=0.05), times=2))
    card = "/i/cat?style=card&w=160&format=webp"
    async with asyncio.TaskGroup() as under_way:
        changed = under_way.create_task(gateway.get("/i/cat?style=thumb"), name="of-a-changed-style")
        removed = under_way.create_task(gateway.get(card), name="of-a-removed-style")
        await until(lambda: len(cos.request_log.of("objects/cat.png")) == 2)
        await gateway.reload(image_styles={"thumb": LARGE})
        for _ in range(2):
            assert picture((await gateway.get("/i/cat?style=thumb")).body).width == 200
    assert (changed.result().status, picture(changed.result().body).width) == (200, 100)
    assert removed.result().status == 200
    assert picture((await gateway.get("/i/cat?style=thumb")).body).width == 200
    assert (await gateway.get(card)).status == 400


async def test_a_style_that_is_no_longer_public_is_closed_at_once(gateway: RunningGateway) -> None:
    await gateway.reload(image_styles={"teaser": {**TEASER, "public": True}})
    assert (await gateway.get("/i/mine?style=teaser&w=32")).status == 200
    await gateway.reload(image_styles={"teaser": TEASER})
    assert (await gateway.get("/i/mine?style=teaser&w=32")).status == 404
    assert (await gateway.get("/i/mine?style=teaser&w=32", user="alice")).status == 200


@pytest.mark.parametrize(
    ("delivery", "address", "field", "closed"),
    [
        ("accel", "/i/own?style=teaser&w=32", "Cache-Control", {"image_styles": {"teaser": TEASER}}),
        ("accel", "/i/open", "X-Image-Cache-Control", {"image_variants": {"originals": "owner"}}),
        ("stream", "/i/open", "Cache-Control", {"image_variants": {"originals": "owner"}}),
    ],
    ids=["a style", "originals by nginx", "originals"],
)
async def test_who_asks_after_a_reload_gets_no_answer_for_the_audience_before_it(
    start_gateway: StartGateway,
    images: Images,
    cos: CosEmulator,
    delivery: str,
    address: str,
    field: str,
    closed: Any,
) -> None:
    """The owner waits for an answer of COS that a stranger has asked for: caches must not keep it for everybody."""
    await images.add("own", photo(), content_type="image/jpeg", owner="alice", public=False)
    await images.add("open", photo(), content_type="image/jpeg", owner="alice")
    async with Valve.before(cos.port) as valve, asyncio.TaskGroup() as under_way:
        gateway = await start_gateway(
            cos={"domain": f"127.0.0.1:{valve.port}"},
            image_proxy={"delivery": delivery},
            image_styles={"teaser": {**TEASER, "public": True}},
        )
        valve.close()
        under_way.create_task(gateway.get(address), name="stranger")
        await valve.holds.wait()
        await gateway.reload(**closed)
        owner = under_way.create_task(gateway.get(address, user="alice"), name="owner")
        await until_counted(gateway.registry, "coalesced_requests_total")
        valve.open()
    assert owner.result().status == 200
    assert owner.result().headers[field].startswith("private")


async def test_an_image_that_changed_while_a_style_was_away_is_read_again(
    gateway: RunningGateway, images: Images
) -> None:
    assert (await gateway.get("/i/cat?style=thumb")).status == 200
    await gateway.reload(image_styles={})
    await images.execute("UPDATE images SET is_public = false WHERE id = 'cat'")
    assert await purge(gateway, image_id="cat") == 200
    await gateway.reload(image_styles={"thumb": SMALL})
    assert (await gateway.get("/i/cat?style=thumb")).status == 404


@proves("image_variants.originals")
async def test_originals_are_for_their_owners_from_now_on(gateway: RunningGateway) -> None:
    assert (await gateway.get("/i/cat")).status == 200
    await gateway.reload(image_variants={"originals": "owner"})
    assert (await gateway.get("/i/cat")).status == 404
    assert (await gateway.get("/i/cat?style=card")).status == 200
    await gateway.reload(image_variants={"originals": "everyone"})
    assert (await gateway.get("/i/cat")).status == 200


@proves("image_variants.negotiate", "image_variants.unknown_width", "image_variants.max_dpr")
async def test_addresses_are_understood_by_the_new_rules(gateway: RunningGateway) -> None:
    await gateway.reload(image_styles={"card": {"widths": [160, 640], "formats": ["webp"]}})
    auto = "/i/cat?style=card&w=160&format=auto"
    assert (await gateway.get(auto)).status == 400
    await gateway.reload(image_variants={"negotiate": "accept"})
    assert (await gateway.get(auto)).status == 200
    dense = "/i/cat?style=card&w=64&dpr=8&format=webp"
    assert picture((await gateway.get(dense)).body).width == 640  # 64 times 3 is more than 160
    await gateway.reload(image_variants={"max_dpr": 2})
    assert picture((await gateway.get(dense)).body).width == 160
    await gateway.reload(image_variants={"unknown_width": "reject"})
    assert (await gateway.get(dense)).json()["code"] == "unknown_width"


@proves("image_variants.widths", "image_variants.formats", "image_variants.quality")
async def test_styles_that_name_no_widths_or_formats_have_the_new_ones(
    gateway: RunningGateway, cos: CosEmulator
) -> None:
    await gateway.reload(image_styles={"plain": {}})
    await gateway.reload(image_variants={"widths": [111], "formats": ["avif"], "quality": {"avif": 33}})
    meta = (await gateway.get("/api/v1/images/cat/meta")).json()["data"]
    assert (meta["styles"]["plain"]["widths"], meta["styles"]["plain"]["formats"]) == ([111], ["avif", "original"])
    assert (await gateway.get("/i/cat?style=plain&w=1")).status == 200
    assert any("/quality/33/format/avif" in rule for rule in cos.request_log.requests[-1].query)


@proves("image_variants.max_new_per_minute")
async def test_so_many_new_variants_are_made_from_now_on(gateway: RunningGateway, images: Images) -> None:
    await gateway.reload(image_variants={"max_new_per_minute": 1})
    for number in range(2):
        await images.add(f"new{number}", photo(), content_type="image/jpeg")
        answer = await gateway.get(f"/i/new{number}?style=card&w=160&format=webp")
        assert ("detail=original" in answer.headers["Cache-Status"]) == (number == 1)


def test_names_that_are_gone_are_known_until_the_next_change() -> None:
    record = ImageRecord("a", None, True, "b-1250000000", "ap-beijing", "a.jpg", None)
    first = Renditions({"thumb": SMALL, "kept": SMALL})
    second = Renditions({"kept": SMALL, "new": LARGE}, before=first)
    assert second.differing_from(first) == {"thumb", "new"}
    assert not second.has("thumb")
    assert second.get("thumb").rule(record) == SMALL
    assert [second.template(name) for name in ("kept", "thumb", "unknown")] == [SMALL, SMALL, ""]
    third = Renditions({"kept": SMALL}, before=Renditions({"kept": SMALL, "thumb": SMALL}, before=second))
    with pytest.raises(UnknownStyle):
        third.get("new")


@proves("image_variants.placeholders")
async def test_tiny_copies_are_made_from_now_on(gateway: RunningGateway) -> None:
    async def placeholder() -> str | None:
        found: str | None = (await gateway.get("/api/v1/images/cat/meta")).json()["data"]["placeholder"]
        return found

    assert await placeholder() is None
    await gateway.reload(image_variants={"placeholders": True})
    assert (await placeholder() or "").startswith("data:image/webp;base64,")
