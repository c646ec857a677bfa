"""``private-cache.conf``: a shared cache of private images that asks the gateway on every hit."""

import asyncio
import itertools
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, bearer, link_query, token
from tests.conftest import Answer, Images, RunningGateway, StartGateway, token_for
from tests.cos_emulator.pictures import gradient, opened
from tests.nginx.conftest import NAMED_BY_CLIENT, Nginx, StartNginx, basic, in_front_of
from tests.nginx.scripted import answer, scripted
from tests.nginx.test_accel import SMALL
from tests.raw_client import exchange
from tests.waiting import until

ALICE, BOB = ("alice", "bob")
STYLES = {"thumb": "imageMogr2/thumbnail/10x"}


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with tokens, cookies and links, and without a memory cache."""
    return await start_gateway(
        access={**ACCESS, "forwarded_user": None},
        image_styles=STYLES,
        image_proxy={"memory_cache": {"max_bytes": 0}, "retry_count": 0},
    )


@pytest.fixture
async def nginx(start_nginx: StartNginx, gateway: RunningGateway) -> Nginx:
    """nginx with the file in front of that gateway."""
    return await start_nginx(in_front_of(gateway.address, "private-cache.conf"))


async def get(nginx: Nginx, path: str, user: str | None = None, **headers: str) -> Answer:
    """GET as ``user``."""
    return await nginx.get(path, **headers, **(bearer(token(sub=user)) if user is not None else {}))


def is_hit(answer: Answer) -> bool:
    """Whether nginx answered from its cache."""
    return [value for name, value in answer.headers.items() if name == "Cache-Status"][-1] == "nginx; hit"


def is_denied(answer: Answer, status: int = 404, code: str = "image_not_found") -> bool:
    """Whether an answer is the gateway's own denial, with nothing of the image."""
    fields = {name.lower() for name in answer.headers}
    return (
        (answer.status, answer.json()["code"]) == (status, code)
        and answer.headers["Cache-Control"] == "no-store"
        and not fields & {"etag", "last-modified", "accept-ranges", "server-timing"}
    )


async def warmed(nginx: Nginx, images: Images, path: str = "/i/mine") -> None:
    """Put an image of alice's into nginx's cache."""
    await images.add("mine", SMALL, owner=ALICE, public=False)
    for hit in (False, True):
        answer = await get(nginx, path, ALICE)
        assert (answer.status, answer.body, is_hit(answer)) == (200, SMALL, hit)


async def test_an_image_is_cached_for_its_owner_and_never_served_to_another_user(nginx: Nginx, images: Images) -> None:
    await warmed(nginx, images)
    for _ in range(2):
        assert is_denied(await get(nginx, "/i/mine", BOB))
        assert is_denied(await get(nginx, "/i/mine"))
        assert is_denied(await nginx.get("/i/mine", **bearer("rubbish")), 401, "unauthorized")
        owner = await get(nginx, "/i/mine", ALICE)
        assert (owner.body, is_hit(owner)) == (SMALL, True)
        assert owner.headers["Cache-Control"].startswith("private, max-age=")
    assert len(images.cos.request_log.requests) == 1


async def test_many_callers_at_once_each_get_their_own_verdict(nginx: Nginx, images: Images) -> None:
    await images.add("mine", SMALL, owner=ALICE, public=False)
    await images.add("bobs", b"of bob", owner=BOB, public=False)
    callers = [ALICE, BOB, None] * 10
    bodies = {(ALICE, "mine"): SMALL, (BOB, "bobs"): b"of bob"}
    for image_id in ("mine", "bobs"):
        answers = await asyncio.gather(*(get(nginx, f"/i/{image_id}", user) for user in callers))
        for user, answered in zip(callers, answers, strict=True):
            body = bodies.get((user or "", image_id))
            assert answered.body == body if body is not None else is_denied(answered)


async def test_no_request_of_another_user_reads_the_cache(nginx: Nginx, images: Images) -> None:
    picture = gradient(40, 20)
    await images.add("mine", picture, owner=ALICE, public=False)
    asked: tuple[dict[str, str], ...] = ({}, {"Range": "bytes=0-3"}, {"If-None-Match": "*"}, {"If-Modified-Since": "x"})
    for path in ("/i/mine", "/api/v1/images/mine/proxy", "/i/mine?style=thumb", "/i/mine?x=1"):
        for _ in range(2):
            assert (await get(nginx, path, ALICE)).status == 200
        for method, headers in itertools.product(("GET", "HEAD"), asked):
            stranger = await nginx.request(method, path, **headers, **bearer(token(sub=BOB)))
            assert (stranger.status, b"PNG" in stranger.body) == (404, False), (path, method, headers)
            assert "ETag" not in stranger.headers


SPELLINGS = (
    "/i/hers/../mine",
    "/i/hers%2F..%2Fmine",
    "/i//mine",
    "//i/mine",
    "/i/./mine",
    "/i/m%69ne",
    "/i/mine#",
    "/i/mine/",
    "/i/mine%3F",
    "/i/mine%00",
    "/api/v1/images/hers/../../../../i/mine",
    "/api/v1/images/hers/../mine/proxy",
    "/i/mine;x",
    "/I/mine",
    "/i/hers?/../mine",
    "/i/hers?/i/mine",
)


async def test_no_spelling_of_an_address_gets_the_image_of_another_user(nginx: Nginx, images: Images) -> None:
    """Mallory may view her own image: no address is checked as hers and answered with alice's."""
    await warmed(nginx, images)
    await images.add("hers", b"of mallory", owner="mallory", public=False)
    for path in SPELLINGS:
        for _ in range(2):
            answer = await get(nginx, path, "mallory")
            assert SMALL not in answer.body, path
            assert answer.body == b"of mallory" or answer.status in (400, 404), path
        assert (await get(nginx, "/i/mine", ALICE)).body == SMALL, path
        assert (await get(nginx, "/i/hers", "mallory")).body == b"of mallory", path


async def test_links_open_the_image_and_share_its_entry(nginx: Nginx, images: Images, cos: CosEmulator) -> None:
    await warmed(nginx, images)
    for exp in (4_000_000_000, 4_000_000_001):
        opened = await nginx.get(f"/i/mine?{link_query('/i/mine', exp=exp)}")
        assert (opened.body, is_hit(opened)) == (SMALL, True)
    for path in (
        f"/i/mine?{link_query('/i/other')}",
        f"/i/mine?{link_query('/i/mine', exp=1_000_000_000)}",
        f"/i/mine?{link_query('/i/mine')}x",
        f"/i/mine?{link_query('/i/mine', key='not the key of the gateway, but as long')}",
    ):
        assert is_denied(await nginx.get(path), 401, "unauthorized")
    assert len(cos.request_log.requests) == 1


async def test_a_fragment_in_a_link_puts_no_original_in_the_place_of_a_style(nginx: Nginx, images: Images) -> None:
    for number, link in enumerate(("kid=1&exp=1&sig=1#", "kid=1&exp=1#&sig=1", "kid=#&exp=1&sig=1")):
        await images.add(f"open{number}", gradient(40, 20))
        assert (await send_as_it_is(nginx, f"/i/open{number}?{link}&style=thumb")).startswith(b"HTTP/1.1 400 ")
        assert opened((await nginx.get(f"/i/open{number}?style=thumb")).body).width == 10


async def test_an_address_with_a_fragment_has_an_entry_of_its_own(start_nginx: StartNginx) -> None:
    """Older gateways ignore the fragment."""
    async with scripted(lambda head: answer(200, head.split()[1], Cache_Control="private, max-age=3600")) as port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{port}", "private-cache.conf"))
        for link in ("kid=1&exp=1&sig=1#", "kid=1&exp=1#&sig=1", "kid=#&exp=1&sig=1", "kid=1&exp=1&sig=1&#"):
            await send_as_it_is(nginx, f"/i/a?{link}&style=thumb")
        await send_as_it_is(nginx, "/i/a?kid=1&exp=1&sig=1#")
        await send_as_it_is(nginx, "/i/a?kid=1&exp=1&sig=1&style=thumb#")
        for target in ("/i/a?style=thumb", "/i/a"):
            assert (await nginx.get(target)).body == target.encode()


async def test_the_holder_of_a_link_puts_no_private_original_in_the_place_of_a_public_style(
    start_nginx: StartNginx, start_gateway: StartGateway, links_table: ImagesTable, images: Images
) -> None:
    gateway = await start_gateway(
        access=ACCESS, image_styles={"teaser": {"widths": [5], "formats": ["webp"], "public": True}}
    )
    nginx = await start_nginx(in_front_of(gateway.address, "private-cache.conf"))
    await images.add("mine", gradient(40, 20), owner=ALICE, public=False)
    answered = await send_as_it_is(nginx, f"/i/mine?{link_query('/i/mine')}#&style=teaser")
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert opened((await nginx.get("/i/mine?style=teaser")).body).width == 5


async def send_as_it_is(nginx: Nginx, target: str) -> bytes:
    """Send a GET of an address that the client of other tests would shorten; return the response."""
    return await exchange(nginx.url, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())


async def test_a_link_with_a_style_gets_that_style(nginx: Nginx, images: Images) -> None:
    await images.add("mine", gradient(40, 20), owner=ALICE, public=False)
    link = link_query("/i/mine")
    for query, width, hit in (
        (link, 40, False),
        (f"{link}&style=thumb", 10, False),
        (f"{link}&style=thumb", 10, True),
        (link, 40, True),
        (f"style=thumb&{link}", 10, False),  # in any other order, the address has another entry
    ):
        answered = await nginx.get(f"/i/mine?{query}")
        assert (opened(answered.body).width, is_hit(answered)) == (width, hit)
    assert is_hit(await get(nginx, "/i/mine?style=thumb", ALICE))


async def test_a_cached_image_is_gone_once_it_is_made_private_deleted_or_its_links_are_killed(
    nginx: Nginx, images: Images, gateway: RunningGateway
) -> None:
    await warmed(nginx, images)
    link = f"/i/mine?{link_query('/i/mine')}"
    assert is_hit(await nginx.get(link))
    killed = await gateway.request("DELETE", "/api/v1/images/mine/links", headers=bearer(token()))
    assert killed.status == 200
    assert is_denied(await nginx.get(link), 401, "unauthorized")
    await images.execute("UPDATE images SET user_id = 'bob' WHERE id = 'mine'")
    await purge(gateway, "mine")
    assert is_denied(await get(nginx, "/i/mine", ALICE))
    new_owner = await get(nginx, "/i/mine", BOB)
    assert (new_owner.body, is_hit(new_owner)) == (SMALL, True)
    await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id = 'mine'")
    await purge(gateway, "mine")
    assert is_denied(await get(nginx, "/i/mine", BOB))


async def purge(gateway: RunningGateway, image_id: str) -> None:
    """Drop the image from the caches of the gateway, as the trigger does."""
    headers = {"Authorization": "Bearer the-admin-token-of-tests"}
    purged = await gateway.request(
        "POST", "/api/v1/cache/purge", admin=True, headers=headers, json={"image_ids": [image_id]}
    )
    assert purged.status == 200


async def test_a_client_cannot_speak_for_the_proxy(nginx: Nginx, images: Images) -> None:
    await warmed(nginx, images)
    await images.add("hers", owner="mallory", public=False)
    hers = f"/i/hers?{link_query('/i/hers')}"
    for name, value in (("X-Original-URI", hers), ("X-Original-URI", "/i/mine"), ("X-User-Id", "alice")):
        assert is_denied(await nginx.get("/i/mine", **{name: value}))
    assert (await nginx.get("/_access")).status == 404


@pytest.mark.parametrize("place", ["server_tokens off;\n", "location ~ ^/(i/|api/v1/images/[^/]+/proxy$) {\n"])
async def test_a_name_with_a_wrong_password_is_refused_by_nginx_itself(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, tmp_path: Path, place: str
) -> None:
    """The refusal of nginx is not the gateway's: the gateway would believe the name."""
    await images.add("mine", SMALL, owner=ALICE, public=False)
    gateway = await start_gateway(access={"forwarded_user": {"trusted_proxies": ["127.0.0.1"]}})
    (tmp_path / "users").write_text(f"{ALICE}:{{PLAIN}}right\n{BOB}:{{PLAIN}}right\n")
    http = in_front_of(gateway.address, "private-cache.conf")
    asking = f"{place}auth_basic images;\nauth_basic_user_file {tmp_path / 'users'};\n"
    nginx = await start_nginx(http, {'map "" $image_user { default ""; }': NAMED_BY_CLIENT, place: asking})
    for headers in (basic(ALICE, "wrong"), {}):
        refused = await nginx.get("/i/mine", **headers)
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="images"')
    for hit in (False, True):
        owner = await nginx.get("/i/mine", **basic(ALICE, "right"))
        assert (owner.status, owner.body, is_hit(owner)) == (200, SMALL, hit)
    assert is_denied(await nginx.get("/i/mine", **basic(BOB, "right")))


async def test_an_address_that_nginx_denies_gets_no_image(
    start_nginx: StartNginx, gateway: RunningGateway, images: Images
) -> None:
    await images.add("open", SMALL)
    place = "location ~ ^/(i/|api/v1/images/[^/]+/proxy$) {"
    nginx = await start_nginx(in_front_of(gateway.address, "private-cache.conf"), {place: f"{place} deny all;"})
    assert (await nginx.get("/i/open")).status == 401


async def test_what_depends_on_more_than_the_address_is_not_cached(nginx: Nginx, images: Images) -> None:
    await images.add("mine", SMALL, owner=ALICE, public=False)
    for query in ("format=auto", "style=thumb&format=auto", "st%79le=thumb", "redirect=true"):
        for _ in range(2):
            answer = await get(nginx, f"/i/mine?{query}", ALICE)
            assert "nginx; hit" not in str(answer.headers)
    assert not list((nginx.folder / "cache" / "private").rglob("?" * 32))


async def test_only_a_200_of_the_check_opens_the_cache(start_nginx: StartNginx) -> None:
    """After any other verdict nginx passes the request on, and the gateway answers it."""
    checks, verdict = 0, 200

    def gateway(head: str) -> str:
        nonlocal checks
        if "/access HTTP" in head:
            checks += 1
            return answer(200 if is_filling else verdict)
        return answer(200, "an image", Cache_Control="private, max-age=3600") if is_filling else answer(418, "no")

    is_filling = True
    async with scripted(gateway) as port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{port}", "private-cache.conf"))
        assert (await nginx.get("/i/a")).body == b"an image"
        is_filling = False
        for verdict in (200, 401, 403, 302, 404, 500, 503):
            before = checks
            for _ in range(2):
                answered = await nginx.get("/i/a")
                assert (answered.status, answered.body) == ((200, b"an image") if verdict == 200 else (418, b"no"))
            assert checks == before + 2


async def test_a_short_life_is_not_prolonged(start_nginx: StartNginx) -> None:
    lives = {"a": "no-store", "b": "private, max-age=5", "c": "private, max-age=99, x"}
    sent = 0

    def gateway(head: str) -> str:
        nonlocal sent
        if not head.startswith("GET /i/"):
            return answer(200)
        sent += 1
        return answer(200, f"image {sent}", Cache_Control=lives[head[7]])

    async with scripted(gateway) as port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{port}", "private-cache.conf"))
        bodies = [(await nginx.get(f"/i/{name}")).body for name in lives for _ in range(2)]
        assert bodies == [f"image {number}".encode() for number in range(1, 7)]


async def test_an_unreachable_gateway_is_an_error_even_if_the_image_is_cached(start_nginx: StartNginx) -> None:
    is_down = False

    def gateway(head: str) -> str | None:
        return None if is_down else answer(200, "" if "/access HTTP" in head else "an image")

    async with scripted(gateway) as port:
        nginx = await start_nginx(in_front_of(f"127.0.0.1:{port}", "private-cache.conf"))
        assert (await nginx.get("/i/a")).body == b"an image"
        is_down = True
        response = await nginx.get("/i/a")
    assert (response.status, response.json()["code"]) == (503, "gateway_unreachable")


async def test_a_long_address_gets_an_answer_of_the_gateway(nginx: Nginx, images: Images) -> None:
    """The check has the address in a header field, which is as long as the address."""
    await images.add("mine", SMALL, owner=ALICE, public=False)
    for length in (1000, 4000, 8000, 8150):
        answered = await get(nginx, f"/i/mine?x={'x' * length}", ALICE)
        assert (answered.status, answered.body) == (200, SMALL)
        assert is_denied(await get(nginx, f"/i/mine?x={'x' * length}", BOB))


async def test_requests_are_logged_without_their_query(nginx: Nginx, images: Images, gateway: RunningGateway) -> None:
    await warmed(nginx, images)
    assert gateway.sample("nginx_config_mismatches_total") == 0, "the gateway knows the file"
    await nginx.get(f"/i/mine?{link_query('/i/mine')}")
    await until(lambda: nginx.access_log.count("/i/mine") >= 3)
    assert "sig=" not in nginx.access_log


async def test_a_cached_original_is_never_sent_to_those_who_may_see_styles_alone(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        image_styles={"card": {"widths": [10]}, "teaser": {"widths": [5], "public": True}},
        image_variants={"originals": "owner", "formats": ["webp"]},
    )
    nginx = await start_nginx(in_front_of(gateway.address, "private-cache.conf"))
    original = gradient(40, 20)
    await images.add("open", original, owner=ALICE)
    await images.add("mine", original, owner=ALICE, public=False)
    alice, bob = (f"Bearer {token_for(user)}" for user in (ALICE, BOB))

    async def seen(path: str, authorization: str) -> tuple[int, int | None, bool]:
        """Return the status, the width of the picture, and whether it came from the cache."""
        answered = await nginx.get(path, Authorization=authorization)
        if answered.status != 200:
            assert is_denied(answered)
            return answered.status, None, False
        return answered.status, opened(answered.body).width, is_hit(answered)

    for path, width, others_see in (
        ("/i/open", 40, False),
        ("/i/open?style=card", 10, True),
        ("/i/mine", 40, False),
        ("/i/mine?style=card", 10, False),
        ("/i/mine?style=teaser", 5, True),
    ):
        assert await seen(path, alice) == (200, width, False)
        assert await seen(path, alice) == (200, width, True)
        assert await seen(path, bob) == ((200, width, True) if others_see else (404, None, False))
        assert await seen(path, "") == ((200, width, True) if others_see else (404, None, False))


async def test_an_original_that_stands_in_for_a_variant_is_not_kept(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images
) -> None:
    """An SVG has no variants. Of another image COS may make the variant within the ten minutes of nginx's copy."""
    gateway = await start_gateway(image_styles={"card": {"widths": [10]}})
    nginx = await start_nginx(in_front_of(gateway.address, "private-cache.conf"))
    await images.add("drawing", b"<svg/>", owner=ALICE, public=False, content_type="image/svg+xml")
    for _ in range(2):
        owner = await nginx.get("/i/drawing?style=card", Authorization=f"Bearer {token_for(ALICE)}")
        assert (owner.status, owner.body, is_hit(owner)) == (200, b"<svg/>", False)
        assert is_denied(await nginx.get("/i/drawing?style=card", Authorization=f"Bearer {token_for(BOB)}"))
