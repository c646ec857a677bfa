"""``cdn-auth.conf``: the verdict of the gateway for the remote authentication of a CDN."""

import pytest

from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, bearer, link_query, token
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.nginx.conftest import NAMED_BY_CLIENT, Nginx, StartNginx, basic, in_front_of, text_of
from tests.nginx.scripted import scripted
from tests.paintings import POSTGRES, hang, paintings_table

HOST = "image-auth.example.com"


def both(gateway: str) -> str:
    """Return ``gateway.conf`` and ``cdn-auth.conf`` with an upstream for the gateway at that host and port."""
    return in_front_of(gateway, "gateway.conf", has_cache=False) + text_of("cdn-auth.conf")


@pytest.fixture
async def nginx(start_nginx: StartNginx, start_gateway: StartGateway, links_table: ImagesTable) -> Nginx:
    """nginx with both files in front of a gateway that knows tokens and links."""
    gateway: RunningGateway = await start_gateway(access={**ACCESS, "forwarded_user": None})
    return await start_nginx(both(gateway.address))


async def ask(nginx: Nginx, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask as a CDN does: with the path, the query and the headers of the image's request."""
    answer = await nginx.request(method, path, Host=HOST, **headers)
    assert answer.status in (200, 401, 403)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


@pytest.mark.parametrize("address", ["/i/{}", "/api/v1/images/{}/proxy"])
async def test_the_verdict_is_that_of_the_image(nginx: Nginx, images: Images, address: str) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("open")
    mine = address.format("mine")
    alice, bob = bearer(token()), bearer(token(sub="bob"))
    for path, headers, status in (
        (mine, alice, 200),
        (f"{mine}?{link_query(mine)}&download=a.png", {}, 200),
        (mine, {"Cookie": f"session={token()}"}, 200),
        (address.format("open"), {}, 200),
        (mine, bob, 403),
        (mine, {}, 403),
        (f"{mine}?{link_query('/i/open')}", {}, 401),
        (mine, bearer("rubbish"), 401),
        (address.format("never"), alice, 403),
    ):
        for method in ("GET", "HEAD", "POST"):
            assert (await ask(nginx, path, method, **headers)).status == status, (path, headers)


async def test_an_alias_is_checked_for_the_image_whose_alias_it_is(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    async with paintings_table(images, postgres_dsn):
        await hang(images, "mine", "my/cat.png", owner="alice", public=False)
        gateway = await start_gateway(
            postgres=POSTGRES, access={**ACCESS, "forwarded_user": None, "signed_links": None}
        )
        nginx = await start_nginx(both(gateway.address))
        for path, headers, status in (
            ("/a/my/cat.png", bearer(token()), 200),
            ("/a/my%2Fcat.png?style=none", bearer(token()), 403),
            ("/a/my/cat.png", bearer(token(sub="bob")), 403),
            ("/a/unknown", bearer(token()), 403),
            ("/a/", bearer(token()), 403),
        ):
            assert (await ask(nginx, path, **headers)).status == status, path


async def test_any_other_address_is_denied(nginx: Nginx, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    for path in ("/", "/i/", "/i/m%69ne", "/i/x/../mine", "//i/mine", "/healthz", "/i/mine/"):
        assert (await ask(nginx, path, **bearer(token()))).status == 403, path


async def test_a_name_that_nothing_has_verified_opens_no_image(
    start_nginx: StartNginx, start_gateway: StartGateway, images: Images
) -> None:
    """``$remote_user`` is what the client says where nginx asks for no password."""
    await images.add("mine", owner="alice", public=False)
    gateway = await start_gateway(access={"forwarded_user": {"trusted_proxies": ["127.0.0.1"]}})
    nginx = await start_nginx(both(gateway.address), {'map "" $image_user { default ""; }': NAMED_BY_CLIENT})
    for headers in (basic("alice", "any"), {"X-User-Id": "alice"}):
        assert (await ask(nginx, "/i/mine", **headers)).status == 403


async def test_the_images_themselves_have_the_other_name(nginx: Nginx, images: Images) -> None:
    await images.add("open", b"an image")
    assert (await nginx.get("/i/open")).body == b"an image"
    assert (await ask(nginx, "/i/open")).body == b""


async def test_without_the_gateway_everything_is_denied(start_nginx: StartNginx) -> None:
    async with scripted(lambda _: None) as silent:
        nginx = await start_nginx(both(f"127.0.0.1:{silent}"))
        assert (await ask(nginx, "/i/open")).status == 403
