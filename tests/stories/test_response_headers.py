"""Headers of an image: what caches may store, and what browsers may do with it."""

from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.stories.content import SMALL


async def test_public_images_may_be_stored_by_shared_caches_and_private_ones_not(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("a", SMALL)
    await images.add("mine", SMALL, owner="alice", public=False)
    public = await gateway.get("/i/a")
    assert public.headers["Cache-Control"] == ("public, max-age=3600, stale-while-revalidate=300, stale-if-error=86400")
    assert "Vary" not in public.headers  # a public image does not depend on the caller or the origin
    assert public.headers["Access-Control-Allow-Origin"] == "*"
    assert public.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Cache-Status" in public.headers["Access-Control-Expose-Headers"]
    for _ in range(2):
        private = await gateway.get("/i/mine", user="alice")
        assert private.headers["Cache-Control"] == "private, max-age=3600"
        assert private.headers["Vary"] == "Authorization"


async def test_cache_status_names_the_source_of_an_answer(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": 30}})
    await images.add("a", SMALL)
    cold, warm = await gateway.get("/i/a"), await gateway.get("/i/a")
    assert cold.headers["Cache-Status"] == "image-gateway; fwd=miss; fwd-status=200; stored"
    assert "Age" not in cold.headers
    age = int(warm.headers["Age"])
    assert warm.headers["Cache-Status"] in (
        f"image-gateway; hit; ttl={29 - age}",
        f"image-gateway; hit; ttl={30 - age}",
    )
    assert age < 10
    sizes, duration = (value for name, value in warm.headers.items() if name == "Server-Timing")
    assert sizes == f"size;desc={len(warm.body)}"
    assert duration.startswith("gateway;dur=")


async def test_an_svg_is_shown_and_cannot_run_script(gateway: RunningGateway, images: Images) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    await images.add("a", svg, content_type="image/svg+xml")
    answer = await gateway.get("/i/a")
    assert (answer.body, answer.headers["Content-Type"]) == (svg, "image/svg+xml")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "allow-scripts" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


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
