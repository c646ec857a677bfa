"""The bound on variants that are made for the first time."""

import asyncio
from typing import Any

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, StartGateway
from tests.stories.test_variants import STYLES, photo, picture


async def test_new_variants_are_bounded(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 2})
    await images.add("cat", photo(), content_type="image/jpeg")
    answers = [
        await gateway.get(f"/i/cat?style=card&w={width}&format={kind}")
        for width in (160, 320)
        for kind in ("webp", "avif")
    ]
    assert [picture(answer.body).width for answer in answers] == [160, 160, 800, 800]
    assert answers[2].headers["Cache-Status"].endswith("detail=original")
    # Served stale, an original would stay in the place of the variant for a day.
    assert answers[2].headers["Cache-Control"] == "public, max-age=60"
    assert gateway.sample("variants_total", style="card", format="webp", result="limited") == 1
    assert (await gateway.get("/i/cat?style=card&w=160&format=webp")).headers["Content-Type"] == "image/webp"
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    limited = await gateway.get("/i/mine?style=teaser")
    assert (limited.status, limited.json()["code"]) == (503, "too_many_variants")
    assert "Retry-After" in limited.headers
    assert limited.headers["Cache-Control"] == "no-store"


async def test_what_a_gateway_with_other_settings_has_made_is_not_new(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat", photo(), content_type="image/jpeg")
    cards = [f"/i/cat?style=card&w={width}&format=webp" for width in (160, 320)]
    for key, bound in (("a", 600), ("b", 1)):
        variants = {"max_new_per_minute": bound}
        gateway = await start_gateway(image_styles=STYLES, image_variants=variants, redis={"entry_key": key * 32})
        assert [picture((await gateway.get(card)).body).width for card in cards] == [160, 320]


async def test_clients_that_ask_for_one_variant_at_once_use_up_one(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(
        image_styles=STYLES, image_variants={"max_new_per_minute": 16}, server={"trusted_proxies": ["127.0.0.0/8"]}
    )
    await images.add("cat", photo(), content_type="image/jpeg")
    for width in (160, 320):
        answers = await asyncio.gather(
            *(
                gateway.get(
                    f"/i/cat?style=card&w={width}&format=webp", headers={"X-Forwarded-For": f"192.0.2.{client}"}
                )
                for client in range(20)
            )
        )
        assert {picture(answer.body).width for answer in answers} == {width}
    assert len(images.cos.request_log.requests) == 2


async def test_the_bound_on_new_variants_does_not_tell_which_images_exist(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 1})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    assert (await gateway.get("/i/cat?style=card&w=160")).status == 200
    for user in (None, "bob"):
        hidden, unknown = [
            await gateway.get(f"/i/{image_id}?style=card&w=160", user=user) for image_id in ("mine", "none")
        ]
        assert (hidden.status, hidden.json()["code"]) == (unknown.status, unknown.json()["code"])
        assert hidden.status == 404
    assert (await gateway.get("/i/mine?style=card&w=160", user="alice")).status == 200


async def test_who_may_not_see_an_image_uses_up_no_new_variants(
    start_gateway: StartGateway, images: Images, redis_client: Any
) -> None:
    gateway = await start_gateway(image_styles=STYLES, image_variants={"max_new_per_minute": 2})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    for width in (160, 320, 640):
        for user in (None, "bob"):
            assert (await gateway.get(f"/i/mine?style=card&w={width}&format=webp", user=user)).status == 404
    assert not redis_client.keys("image:url:mine:*")
    for image_id in ("mine", "cat"):
        answer = await gateway.get(f"/i/{image_id}?style=card&w=160&format=webp", user="alice")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
