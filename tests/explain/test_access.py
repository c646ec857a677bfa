"""The caller in an explanation: who it is, and why it may not see the image."""

from collections.abc import Callable

from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, OLD_LINK_KEY, token
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.explain.test_explainer import asked, explained, link
from tests.paintings import POSTGRES, at, hang, paintings_table

__all__ = ["asked"]


OTHER_KEY = "a-key-that-is-not-configured-and-long-enough"


# Made when a test runs: they are valid for a minute.
CALLERS: list[tuple[str, Callable[[], dict[str, str]], int, str]] = [
    ("", dict, 404, "the request has no valid credentials"),
    ("?user=bob", dict, 404, "bob is not the owner: the owner is alice"),
    ("?user=alice", dict, 200, "the caller is the owner"),
    ("", lambda: {"X-Explain-Token": token()}, 200, "the caller is the owner"),
    ("", lambda: {"X-Explain-Token": token(sub="bob")}, 404, "bob is not the owner"),
    ("", lambda: {"X-Explain-Token": token(exp=1)}, 401, "the token has expired"),
    ("", lambda: {"X-Explain-Token": token(exp=None)}, 401, "the token has no exp"),
    ("", lambda: {"X-Explain-Token": token(key=OTHER_KEY)}, 401, "signed with another key"),
    ("", lambda: {"X-Explain-Token": token(aud="songs")}, 401, "another audience"),
    ("", lambda: {"X-Explain-Token": ADMIN_TOKEN}, 401, "the token is malformed"),
    ("", lambda: link(), 200, "the link is valid"),
    ("", lambda: link(exp=1_700_000_000), 401, "the link is expired"),
    ("", lambda: link(kid="new", key=OLD_LINK_KEY), 401, "signed with another key"),
    ("", lambda: link(kid="third"), 401, "the key is unknown"),
    ("", lambda: link("/i/dog"), 401, "the link is for another address: /i/dog"),
    ("", lambda: {"X-Explain-Link": "/i/cat?kid=new"}, 401, "a parameter is missing or repeated"),
    ("", lambda: {"X-Explain-Link": "/i/cat"}, 404, "the request has no valid credentials"),
]


async def test_who_asks_and_why_not(asked: RunningGateway, images: Images) -> None:
    await images.add("cat", owner="alice", public=False)
    for query, make_headers, status, reason in CALLERS:
        headers = make_headers()
        data = await explained(asked, query=query, headers=headers)
        assert data["verdict"]["status"] == status, reason
        assert reason in data["caller"]["why"]
        assert reason in data["verdict"]["reason"] or status == 200
        assert data["kept"]["cdn"].startswith("nothing")
        assert ("applies" in data["delivery"]) == (status != 200), "another caller gets the headers of the image"
        request = {"Authorization": f"Bearer {headers['X-Explain-Token']}"} if "X-Explain-Token" in headers else {}
        address = headers.get("X-Explain-Link", "/i/cat").removeprefix("https://images.example").replace("dog", "cat")
        user = query.partition("=")[2]
        answer = await asked.get(address, headers={**request, **({"X-User-Id": user} if user else {})})
        assert answer.status == status, "what is explained is what a client gets"


async def test_killed_links_are_named_as_the_reason(asked: RunningGateway, images: Images) -> None:
    await images.add("cat", owner="alice", public=False)
    killed = await asked.request("DELETE", "/api/v1/images/cat/links", headers={"Authorization": f"Bearer {token()}"})
    assert killed.status == 200
    data = await explained(asked, headers=link())
    assert data["verdict"]["status"] == 401
    assert "have been killed since the link was made (1 times in all)" in data["verdict"]["reason"]
    assert (await explained(asked, headers=link(killed=1)))["verdict"]["served"]


async def test_a_link_to_the_alias_of_an_image_is_a_link_of_the_image(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable, postgres_dsn: str
) -> None:
    del links_table
    async with paintings_table(images, postgres_dsn):
        gateway = await start_gateway(postgres=POSTGRES, access=ACCESS)
        await hang(images, "cat", "shop/my cat", owner="alice", public=False)
        for path, status, reason in (
            (at("shop/my cat"), 200, "the link is valid"),
            (at("dog"), 401, "the link is for another address: /a/dog"),
            ("/a/%00", 401, "the link is for another address: /a/%00"),
        ):
            data = await explained(gateway, headers=link(path))
            assert (data["verdict"]["status"], data["caller"]["why"]) == (status, reason)


async def test_of_an_image_without_an_owner_it_is_shown_what_the_holder_of_a_link_gets(
    asked: RunningGateway, images: Images
) -> None:
    await images.add("cat", owner=None, public=False)
    data = await explained(asked, query="?user=bob")
    assert (data["verdict"]["status"], data["cos"]["first_byte"]["status"]) == (404, 206)
    answer = await asked.get(link()["X-Explain-Link"].removeprefix("https://images.example"))
    assert data["delivery"]["headers"]["Cache-Control"] == answer.headers["Cache-Control"]
    assert "applies" in data["delivery"]
