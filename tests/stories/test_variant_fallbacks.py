"""Variants that COS does not make: the next format or the original in their place."""

import asyncio

import yarl

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.test_variants import REFUSED, STYLES, gateway, photo

__all__ = ["gateway"]


class TestFallbacks:
    """What COS does not make is replaced by the next format, then by the original, for a short time."""

    async def test_a_format_that_is_off_falls_back_to_the_next(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        cos.faults.add(Fault(action=REFUSED, times=1))
        answer = await gateway.get("/i/cat?style=card&w=320&format=avif")
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Status"].endswith("detail=other-format")
        assert answer.headers["Cache-Control"].startswith("public, max-age=60")
        assert gateway.sample("variants_total", style="card", format="avif", result="fallback") == 1
        assert gateway.sample("variants_total", style="card", format="webp", result="made") == 1
        made = {"style": "card", "format": "avif", "result": "made"}
        assert gateway.registry.get_sample_value("image_gateway_variants_total", made) == 0, "counted from 0 on"
        asked = len(cos.request_log.requests)
        assert (await gateway.get("/i/cat?style=card&w=320&format=avif")).body == answer.body
        assert len(cos.request_log.requests) == asked  # the refusal is remembered

    async def test_a_source_that_cannot_be_processed_is_sent_as_it_is(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("huge", b"a picture of a billion pixels", content_type="image/jpeg")
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge")))
        for address in ("/i/huge?style=card&w=320&format=webp", "/i/huge?style=card&w=160&format=avif"):
            answer = await gateway.get(address)
            assert answer.body == b"a picture of a billion pixels"
            assert answer.headers["Cache-Status"].endswith("detail=original")
            assert answer.headers["Cache-Control"].startswith("public, max-age=60")
        assert len(cos.request_log.requests) == 2  # one refusal, one original

    async def test_cos_is_not_asked_to_process_an_svg(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("drawing", b"<svg/>", content_type="image/svg+xml")
        answer = await gateway.get("/i/drawing?style=card&w=320&format=webp")
        assert (answer.body, answer.headers["Content-Type"]) == (b"<svg/>", "image/svg+xml")
        assert len(images.cos.request_log.requests) == 1

    async def test_a_refusal_is_forgotten_when_the_row_changes(self, gateway: RunningGateway, cos: CosEmulator) -> None:
        cos.faults.add(Fault(action=Refuse(status=400, code="ImageTooLarge"), times=1))
        address = "/i/cat?style=card&w=320&format=webp"
        assert (await gateway.get(address)).headers["Content-Type"] == "image/jpeg"
        await gateway.forget_everywhere("cat")
        assert (await gateway.get(address)).headers["Content-Type"] == "image/webp"

    async def test_sources_that_cos_cannot_read_do_not_switch_a_format_off(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        for number in range(6):
            await images.add(f"b{number}", b"no picture", content_type="image/jpeg")
        for image_format in ("webp", "avif"):  # COS has refused the original format when AVIF is asked for
            query = f"style=card&w=160&format={image_format}"
            answers = await asyncio.gather(*(gateway.get(f"/i/b{number}?{query}") for number in range(6)))
            assert {answer.body for answer in answers} == {b"no picture"}
            assert (await gateway.get(f"/i/cat?{query}")).headers["Content-Type"] == f"image/{image_format}"


async def test_a_redirect_leads_to_the_original_where_cos_makes_no_variant(
    start_gateway: StartGateway, images: Images
) -> None:
    """The gateway does not see COS's answer then, so the rule itself contains the fallback (ignore-error)."""
    gateway = await start_gateway(image_styles=STYLES, image_proxy={"delivery": "redirect"})
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("broken", b"no picture", content_type="image/jpeg")
    for image_id, kind in (("cat", b"WEBP"), ("broken", b"no picture")):
        redirect = await gateway.get(f"/i/{image_id}?style=card&w=320&format=webp")
        assert redirect.status == 302
        url = yarl.URL(redirect.headers["Location"], encoded=True)
        async with gateway.session.get(url) as answer:
            assert answer.status == 200
            assert kind in await answer.read()
