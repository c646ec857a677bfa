"""Aliases: a text of the application is a further address of its image, with all that the image's own address has."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator

import pytest

from gateway_dev.cos_emulator.faults import Change, Fault, Hang
from tests.access.credentials import ACCESS, bearer, link_query, token
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.paintings import POSTGRES, at, hang, paintings_table
from tests.raw_client import exchange, statuses
from tests.waiting import until, until_asked

ODD = ("plain", "shop/cat.png", "ai_generated/通义万相/x.png", "a b+c%d#e?f&g", "a//b/", "/leading", "x" * 850)


@pytest.fixture
async def paintings(images: Images, postgres_dsn: str) -> AsyncIterator[Images]:
    """The images, whose rows have aliases in a table of their own."""
    async with paintings_table(images, postgres_dsn):
        yield images


@pytest.fixture
async def gateway(start_gateway: StartGateway, paintings: Images, links_table: object) -> RunningGateway:
    """A gateway for that table."""
    del paintings, links_table
    return await start_gateway(postgres=POSTGRES, access=ACCESS, image_styles={"thumb": "imageView2/2/w/9"})


def fields_of_image(answer: Answer) -> dict[str, str]:
    """Return the fields that are not of the request alone. The time for which a redirect is kept becomes shorter."""
    of_request = {"Server-Timing", "X-Request-ID", "Cache-Status", "Date", "Age"}
    fields = {name: value for name, value in answer.headers.items() if name not in of_request}
    if answer.status == 302:
        fields["Cache-Control"] = re.sub("[0-9]+", "", fields["Cache-Control"])
    return fields


async def test_an_alias_answers_as_the_id_does(gateway: RunningGateway, paintings: Images) -> None:
    for number, slug in enumerate(ODD):
        await hang(paintings, f"image-{number}", slug)
    for number, slug in enumerate(ODD):
        for method, headers, query in (
            ("GET", {}, ""),
            ("HEAD", {}, ""),
            ("GET", {"Range": "bytes=0-3"}, "?download=cat.png"),
            ("GET", {}, "?style=thumb&redirect=true"),
        ):
            by_id = await gateway.request(method, f"/i/image-{number}{query}", headers=headers)
            by_alias = await gateway.request(method, at(slug) + query, headers=headers)
            assert (by_alias.status, by_alias.body) == (by_id.status, by_id.body), slug
            assert fields_of_image(by_alias) == fields_of_image(by_id), slug
    assert gateway.sample("requests_total", route="alias", delivery="stream", status="200") >= len(ODD)


async def test_access_is_checked_at_an_alias_as_at_an_id(gateway: RunningGateway, paintings: Images) -> None:
    await hang(paintings, "mine", "my/cat", owner="alice", public=False)
    access = "/api/v1/images/-/access"
    for user, status, allowed in (("alice", 200, 200), ("bob", 404, 403), (None, 404, 403)):
        credentials = bearer(token(sub=user)) if user is not None else {}
        assert (await gateway.get(at("my/cat"), headers=credentials)).status == status, user
        answer = await gateway.get(access, headers={**credentials, "X-Original-URI": at("my/cat")})
        assert answer.status == allowed, user
    assert (await gateway.get(access, headers=bearer(token(sub="alice")))).status == 403, "no address, no image"
    link = f"?{link_query(at('my/cat'))}"
    assert (await gateway.get(at("my/cat") + link)).status == 200
    assert (await gateway.get(f"/i/mine{link}")).status == 401, "a link is for its address alone"
    for query, credentials in itertools.product(("", "?style=no-such"), ({}, bearer("no.valid.token"))):
        told = []
        for slug in "nothing", "my/cat":
            shown = await gateway.get(at(slug) + query, headers=credentials)
            checked = await gateway.get(access, headers={**credentials, "X-Original-URI": at(slug) + query})
            told.append((shown.status, shown.json()["code"], checked.status))
        assert told[0] == told[1], "neither a stranger nor a bad credential learns which aliases there are"
        assert told[0][0] == (400 if query else 401 if credentials else 404)
    await hang(paintings, "cat", "/i/mine", public=True)
    answer = await gateway.get(access, headers={"X-Original-URI": "/i/mine"})
    assert answer.status == 403, "no address by alias"


async def test_in_overload_a_stranger_does_not_learn_which_aliases_there_are(
    start_gateway: StartGateway, paintings: Images
) -> None:
    gateway = await start_gateway(postgres=POSTGRES, server={"max_streams": 1})
    await hang(paintings, "shown", "shown")
    await hang(paintings, "mine", "my/cat", owner="alice", public=False)
    assert (await gateway.get(at("my/cat"), headers=bearer(token(sub="alice")))).status == 200
    paintings.cos.faults.add(Fault(action=Hang(), times=None))
    held = asyncio.create_task(gateway.get(at("shown")))
    await until_asked(paintings.cos, "objects/shown.png")
    for slug in "my/cat", "nothing":
        refused = await gateway.get(at(slug))
        assert (refused.status, refused.json()["code"]) == (503, "overloaded"), slug
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


async def test_an_alias_that_moves_is_at_once_the_other_image(gateway: RunningGateway, paintings: Images) -> None:
    await hang(paintings, "one", "front-page")
    await hang(paintings, "two", "archive")
    assert (await gateway.get(at("front-page"))).body == b"bytes of one"
    assert (await gateway.get("/i/two")).status == 200

    async def body() -> bytes:
        return (await gateway.get(at("front-page"))).body

    async def is_the_second() -> bool:
        return await body() == b"bytes of two"

    await paintings.execute(
        "UPDATE paintings SET slug = NULL WHERE id = 'one'; UPDATE paintings SET slug = 'front-page' WHERE id = 'two'"
    )
    await until(is_the_second, seconds=10)
    await paintings.execute("DELETE FROM paintings WHERE id = 'two'")

    async def is_gone() -> bool:
        return (await gateway.get(at("front-page"))).status == 404

    await until(is_gone, seconds=10)
    await hang(paintings, "three", "front-page")

    async def is_the_third() -> bool:
        return await body() == b"bytes of three"

    await until(is_the_third, seconds=20)


@pytest.mark.parametrize("query", ["", "?style=thumb"])
async def test_an_alias_that_moves_while_cos_is_awaited_is_the_other_image(
    gateway: RunningGateway, paintings: Images, query: str
) -> None:
    await hang(paintings, "one", "front-page")
    await hang(paintings, "two", "archive")

    def moves(*_: str) -> None:
        paintings.table.execute("UPDATE paintings SET slug = NULL WHERE id = 'one'")
        paintings.table.execute("UPDATE paintings SET slug = 'front-page' WHERE id = 'two'")
        gateway.forget("one")
        gateway.forget("two")

    assert (await gateway.get(f"/i/two{query}")).status == 200
    paintings.cos.faults.add(Fault(action=Change(run=moves)))
    answer = await gateway.get(at("front-page") + query)
    assert answer.body == (await gateway.get(f"/i/two{query}")).body


async def test_a_purge_names_the_alias_of_a_row_that_is_not_served_any_more(
    gateway: RunningGateway, paintings: Images
) -> None:
    await hang(paintings, "one", "front-page")
    await paintings.execute("UPDATE paintings SET storage_status = 'blocked'")
    aliases = gateway.service.urls.aliases
    assert aliases is not None
    assert await aliases.of_images(["one", "unknown"]) == {"one": {"front-page"}}


async def test_what_no_alias_can_be_is_a_400_without_a_query(gateway: RunningGateway) -> None:
    for path in ("/a/", "/a/a%00b", "/a/%ff", f"/a/{'x' * 851}"):
        answer = await gateway.get(path)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_alias"), path
    asks = b"GET /api/v1/images/-/access HTTP/1.0\r\nX-Original-URI: /a/\xff\r\n\r\n"
    assert statuses(await exchange(gateway.ports.public, asks)) == [403]
    assert gateway.sample("access_checks_total", result="forbidden") == 1, "and no fault of the gateway"
    assert gateway.sample("catalog_queries_total", result="missing") == 0


async def test_without_the_column_there_are_no_aliases(start_gateway: StartGateway, images: Images) -> None:
    await images.add("cat")
    gateway = await start_gateway()
    assert (await gateway.get("/a/cat")).json()["code"] == "not_found"
