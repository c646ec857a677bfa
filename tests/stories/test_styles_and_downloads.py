"""Parameters of an image's address: ``style`` and ``download``."""

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.stories.content import SMALL


async def test_a_style_is_part_of_the_signed_url(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_styles={"thumb": "imageMogr2/thumbnail/300x300"})
    await images.add("a", gradient(4, 2))
    assert (await gateway.get("/i/a?style=thumb")).status == 200
    assert "imageMogr2/thumbnail/300x300" in cos.request_log.of("objects/a.png")[-1].query
    unknown = await gateway.get("/i/a?style=huge")
    assert (unknown.status, unknown.json()["code"]) == (400, "unknown_style")


async def test_a_download_has_the_requested_file_name_from_cos_and_from_memory(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("a", SMALL)
    answers: list[Answer] = [await gateway.get("/i/a", params={"download": 'a "b" 图.png'}) for _ in range(2)]
    for answer in answers:
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"a _b_ _.png\"; filename*=UTF-8''a%20%22b%22%20%E5%9B%BE.png"
        )
    assert "Content-Disposition" not in (await gateway.get("/i/a")).headers
    assert (await gateway.get("/i/a", params={"download": "../x"})).status == 400
