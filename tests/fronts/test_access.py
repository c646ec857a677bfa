"""A private image is for its owner alone, through each front, whoever asks first."""

import io
import json
from collections.abc import AsyncIterator
from copy import copy
from typing import Any

import aiohttp
import pytest

from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, COOKIE, bearer, link_query, token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.fronts.conftest import running_front
from tests.fronts.front import Front
from tests.waiting import until, until_answered, until_listening_to_changes

BODY = b"bytes of a private image" * 100


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with tokens, cookies, links, and a header that names the user."""
    del links_table
    return await start_gateway(access=ACCESS)


@pytest.fixture
async def front(front_name: str, gateway: RunningGateway) -> AsyncIterator[Front]:
    """Each proxy in front of that gateway. nginx's recipe and file say where the name of the cookie belongs."""
    changes = {"$arg_sig": f"$arg_sig$cookie_{COOKIE}"} if front_name in {"nginx", "gateway.conf"} else None
    async with running_front(front_name, gateway, changes) as front:
        yield front


def owner(kind: str) -> tuple[str, dict[str, str]]:
    """Return the query and the header fields of the owner."""
    fields: dict[str, Any] = {"header": bearer(token()), "cookie": {"Cookie": f"{COOKIE}={token()}"}, "link": {}}
    return (f"?{link_query('/i/mine')}" if kind == "link" else ""), fields[kind]


@pytest.mark.parametrize("kind", ["header", "cookie", "link"])
async def test_the_owner_sees_a_private_image_and_nobody_else(front: Front, images: Images, kind: str) -> None:
    await images.add("mine", BODY, owner="alice", public=False)
    query, fields = owner(kind)
    for _ in range(2):
        assert (await front.get("/i/mine")).status == 404
        answer = await front.get(f"/i/mine{query}", **fields)
        assert (answer.status, answer.body) == (200, BODY)
        assert answer.headers["Cache-Control"].startswith("private")
        for stranger in ({}, bearer(token(sub="bob")), {"Cookie": f"{COOKIE}={token(sub='bob')}"}):
            assert (await front.get("/i/mine", **stranger)).status == 404
        part = await front.get(f"/i/mine{query}", Range="bytes=0-4", **fields)
        assert (part.status, part.body) == (206, BODY[:5])
        assert (await front.get(f"/i/mine{query}", If_None_Match=answer.headers["ETag"], **fields)).status == 304


async def test_no_client_names_its_own_user(front: Front, images: Images) -> None:
    """The gateway trusts the header of the front, so the front must empty it."""
    await images.add("mine", BODY, owner="alice", public=False)
    assert (await front.get("/i/mine", X_User_Id="alice")).status == 404


async def test_the_gateway_counts_by_the_client_and_not_by_what_the_client_says(
    front_name: str, access_lines: io.StringIO, start_gateway: StartGateway, images: Images
) -> None:
    """The front adds the client's address to X-Forwarded-For, and the gateway trusts the front."""
    await images.add("a", BODY)
    gateway = await start_gateway(server={"trusted_proxies": ["127.0.0.1"]})
    async with running_front(front_name, gateway) as front:
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            other = copy(front)
            other.session = session
            answer = await other.get("/i/a", X_Forwarded_For="203.0.113.9")
            assert answer.status == 200

        def clients() -> set[str]:
            return {json.loads(line)["client"] for line in access_lines.getvalue().splitlines()}

        # The front's own questions, for /readyz, come from 127.0.0.1.
        await until(lambda: clients() - {"127.0.0.1"}, what="the line of the request")
        assert clients() - {"127.0.0.1"} == {"127.0.0.2"}


async def test_an_image_that_the_owner_has_opened_to_all_and_closed_again(
    front: Front, gateway: RunningGateway, images: Images
) -> None:
    await until_listening_to_changes(gateway.ports.admin)
    await images.add("mine", BODY, owner="alice", public=False)
    assert (await front.get("/i/mine", **bearer(token()))).body == BODY
    assert (await front.get("/i/mine")).status == 404
    await images.execute("UPDATE images SET is_public = true")
    await until_answered(gateway, "/i/mine", 200)
    assert (await front.get("/i/mine")).body == BODY  # no front has kept the denial
