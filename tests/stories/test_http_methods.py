"""HEAD, and methods that images do not have."""

from gateway.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway


async def test_head_has_the_headers_of_get_and_no_body(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", b"x" * 200_000)
    got, head = await gateway.get("/i/a"), await gateway.request("HEAD", "/i/a")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Accept-Ranges"):
        assert head.headers[name] == got.headers[name]
    assert [seen.method for seen in cos.request_log.of("objects/a.png")] == ["GET"]  # which told all there is to tell


async def test_a_method_that_images_do_not_have_is_answered_with_405(gateway: RunningGateway) -> None:
    answer = await gateway.request("DELETE", "/i/a")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")
