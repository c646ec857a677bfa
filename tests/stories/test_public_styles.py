"""Styles that everybody may see, of images that are private."""

import pytest

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.test_variants import CARD, STYLES, gateway, photo

__all__ = ["gateway"]


class TestPublicStyles:
    """``public: true`` on a style opens that style of private images, and nothing else."""

    async def test_everybody_sees_the_style_and_nothing_else(self, gateway: RunningGateway) -> None:
        assert (await gateway.get("/i/mine?style=card&w=160")).status == 404
        for _ in range(2):  # from COS, then from memory
            teaser = await gateway.get("/i/mine?style=teaser")
            assert teaser.status == 200
            assert teaser.headers["Cache-Control"].startswith("public")
            assert "Vary" not in teaser.headers
        for query in ("", "?style=card&w=32", "?style=card&w=32&format=webp"):
            assert (await gateway.get(f"/i/mine{query}")).status == 404
            seen = await gateway.get(f"/i/mine{query}", user="alice")
            assert seen.status == 200
            assert seen.headers["Cache-Control"].startswith("private")

    async def test_it_holds_for_an_entry_of_redis_read_by_another_configuration(
        self, gateway: RunningGateway, start_gateway: StartGateway
    ) -> None:
        assert (await gateway.get("/i/mine?style=teaser")).status == 200
        closed = await start_gateway(image_styles={"teaser": {**STYLES["teaser"], "public": False}})
        assert (await closed.get("/i/mine?style=teaser")).status == 404
        opened = await start_gateway(image_styles={"card": {**CARD, "public": True}})
        assert (await opened.get("/i/mine?style=card&w=160")).status == 200

    async def test_a_deleted_image_has_no_public_style(self, gateway: RunningGateway, images: Images) -> None:
        await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id = 'mine'")
        assert (await gateway.get("/i/mine?style=teaser")).status == 404

    @pytest.mark.parametrize(
        ("kind", "refusals"),
        [("image/jpeg", [Refuse(status=400, code="ImageTooLarge")]), ("image/svg+xml", [])],
        ids=["refused by COS", "an SVG"],
    )
    async def test_its_fallback_is_the_private_original_for_nobody(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, kind: str, refusals: list[Refuse]
    ) -> None:
        """A CDN may keep one copy of an address for all who may see it: it asks the gateway who may."""
        await images.add("mine", photo(), content_type=kind, owner="alice", public=False)
        for refusal in refusals:
            cos.faults.add(Fault(action=refusal))
        for user in ("alice", None):
            answer = await gateway.get("/i/mine?style=teaser", user=user)
            assert (answer.status, answer.json()["code"]) == (422, "image_too_large")
        assert (await gateway.get("/i/mine?style=card&w=32", user="alice")).body == photo()

    @pytest.mark.parametrize(
        ("delivery", "unsigned", "status"),
        [
            ("stream", "obeyed", 200),
            ("accel", "obeyed", 200),
            ("redirect", "obeyed", 200),
            ("redirect", "refused", 302),
        ],
    )
    async def test_in_every_mode(
        self, start_gateway: StartGateway, images: Images, delivery: str, unsigned: str, status: int
    ) -> None:
        """With its URL and an unsigned rule beside it, a stranger might get the private original."""
        gateway = await start_gateway(
            image_styles=STYLES, image_proxy={"delivery": delivery}, cos={"unsigned_parameters": unsigned}
        )
        await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
        answer = await gateway.get("/i/mine?style=teaser")
        assert answer.status == status
        asked_for = await gateway.get("/i/mine?style=teaser&redirect=true")
        assert asked_for.status == (302 if unsigned == "refused" else 200)
        assert (await gateway.get("/i/mine?style=card&w=160&redirect=true", user="alice")).status == 302
        streamed = gateway.sample("requests_total", route="short", delivery="stream", status="200")
        assert streamed == {"stream": 2, "accel": 1}.get(delivery, 0 if status == 302 else 2)
        assert answer.headers["Cache-Control"].startswith("public")
        assert (await gateway.get("/i/mine?style=card&w=160")).status == 404
        assert (await gateway.get("/i/mine")).status == 404
