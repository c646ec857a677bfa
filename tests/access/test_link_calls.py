"""Making links and killing them, as owners and operators do."""

import asyncio
import re
import time
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yarl

from gateway_dev.database import ImagesTable
from tests.access.credentials import (
    ACCESS,
    OLD_LINK_KEY,
    bearer,
    link_query,
    signed_with_hmac,
    token,
)
from tests.access.deliveries import BODY, DELIVERIES, reveals_nothing
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.waiting import until

ALICE = bearer(token(exp=int(time.time()) + 3600))
BOB = bearer(token(sub="bob", exp=int(time.time()) + 3600))
ADMIN = bearer(ADMIN_TOKEN)
WEEK = 7 * 24 * 3600
# Bodies without a valid lifetime.
INVALID = (
    b"",
    b"{}",
    b"[]",
    b"60",
    b'{"expires_in": 0}',
    b'{"expires_in": -1}',
    b'{"expires_in": %d}' % (WEEK + 1),
    b'{"expires_in": 1e400}',
    b'{"expires_in": NaN}',
    b'{"expires_in": 60.0}',
    b'{"expires_in": "60"}',
    b'{"expires_in": true}',
    b'{"expires_in": null}',
    b'{"expires_in": ' + b"9" * 5000 + b"}",
    b'{"expires_in": [' + b"[" * 50_000,
    b"\xff\xfe",
    b"\x00",
)


async def make(gateway: RunningGateway, image_id: str, *, expires_in: int = 60) -> str:
    """The address of a link that alice makes."""
    path = f"/api/v1/images/{image_id}/link"
    answer = await gateway.request("POST", path, headers=ALICE, json={"expires_in": expires_in})
    assert answer.status == 200
    url: str = answer.json()["data"]["url"]
    return url


async def kill(gateway: RunningGateway, image_id: str) -> int:
    """Kill the links of an image of alice's; how often that was done by now."""
    answer = await gateway.request("DELETE", f"/api/v1/images/{image_id}/links", headers=ALICE)
    assert answer.status == 200
    killed: int = answer.json()["data"]["killed"]
    return killed


@pytest.mark.usefixtures("links_table")
class TestMaking:
    """The owner shows an image to others."""

    async def test_the_owner_makes_a_link_as_the_contract_says(self, gateway: RunningGateway, images: Images) -> None:
        for image_id in ("mine", "user:bob@v1.2_night", "a-b.c"):
            await images.add(image_id, BODY, owner="alice", public=False)
            before = int(time.time())
            path = f"/api/v1/images/{image_id}/link"
            answer = await gateway.request("POST", path, headers=ALICE, json={"expires_in": 900})
            data = answer.json()["data"]
            assert (answer.status, data.keys()) == (200, {"image_id", "url", "expires_at"})
            assert data["image_id"] == image_id
            assert before + 900 <= data["expires_at"] <= before + 900 + LIMIT
            assert data["url"] == f"/i/{image_id}?{link_query(f'/i/{image_id}', exp=data['expires_at'])}"
            assert (await gateway.get(data["url"])).body == BODY

    async def test_only_the_owner_makes_one(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("mine", owner="alice", public=False)
        await images.add("open", owner="alice", public=True)
        forged = bearer(signed_with_hmac(b"not the secret, whatever else it may be"))
        for headers, private, public in (({}, 404, 401), (BOB, 404, 404), (ADMIN, 401, 401), (forged, 401, 401)):
            for image_id, status in (("mine", private), ("never-there", private), ("open", public)):
                answer = await gateway.request(
                    "POST", f"/api/v1/images/{image_id}/link", headers=headers, json={"expires_in": 60}
                )
                assert (answer.status, reveals_nothing(answer)) == (status, True), (headers, image_id)
                assert b"sig=" not in answer.body

    async def test_an_invalid_lifetime_is_a_400(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("mine", owner="alice", public=False)
        for body in INVALID:
            answer = await gateway.request("POST", "/api/v1/images/mine/link", headers=ALICE, data=body)
            assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), body[:40]

    async def test_other_parameters_choose_how_the_image_is_seen(
        self, start_gateway: StartGateway, images: Images
    ) -> None:
        """They are not signed, by the contract: reading the image in another style is still reading it."""
        gateway = await start_gateway(access=ACCESS, image_styles={"thumb": "imageMogr2/interlace/1"})
        await images.add("mine", BODY, owner="alice", public=False)
        url = await make(gateway, "mine")
        saved = await gateway.get(f"{url}&download=a.png")
        assert (saved.status, saved.headers["Content-Disposition"]) == (200, 'attachment; filename="a.png"')
        assert (await gateway.get(f"{url}&style=thumb")).status == 200
        assert (await gateway.get(f"{url}&style=huge")).status == 400
        redirected = await gateway.get(f"{url}&redirect=true")
        assert redirected.status == 302
        assert "sig=" not in redirected.headers["Location"].replace("q-signature=", "")

    async def test_a_redirect_leads_to_the_image_no_longer_than_the_link(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("mine", BODY, owner="alice", public=False)
        link = await make(gateway, "mine")

        async def end_of_redirect(address: str, headers: Any = None) -> int:
            location = (await gateway.get(address, headers=headers or {})).headers["Location"]
            async with gateway.session.get(yarl.URL(location, encoded=True)) as sent:
                assert await sent.read() == BODY
            return int(parse_qs(urlsplit(location).query)["q-sign-time"][0].partition(";")[2])

        for _ in range(2):  # from memory, too
            assert await end_of_redirect("/i/mine?redirect=true", ALICE) > _end_of(link)
            assert await end_of_redirect(f"{link}&redirect=true") == _end_of(link)

    async def test_without_signed_links_there_is_nothing_to_make_or_kill(
        self, start_gateway: StartGateway, images: Images
    ) -> None:
        gateway = await start_gateway(access={**ACCESS, "signed_links": None})
        await images.add("mine", owner="alice", public=False)
        for method, path in (("POST", "mine/link"), ("DELETE", "mine/links"), ("POST", "links")):
            body = {"expires_in": 60, "image_ids": ["mine"]}
            answer = await gateway.request(method, f"/api/v1/images/{path}", headers=ALICE, json=body)
            assert (answer.status, answer.json()["code"]) == (404, "not_found")


@pytest.mark.usefixtures("links_table")
@pytest.mark.parametrize("delivery", DELIVERIES)
class TestKilling:
    """All links of an image become invalid at once, with every key and every end."""

    async def test_a_kill_invalidates_every_link_of_the_image_and_no_other(
        self, start_gateway: StartGateway, images: Images, delivery: str
    ) -> None:
        gateway = await start_gateway(access=ACCESS, image_proxy={"delivery": delivery})
        for image_id in ("mine", "other"):
            await images.add(image_id, BODY, owner="alice", public=False)
        old_key = f"/i/mine?{link_query('/i/mine', kid='old', key=OLD_LINK_KEY)}"
        dead = [await make(gateway, "mine", expires_in=WEEK), old_key]
        alive = await make(gateway, "other")
        for url in (*dead, alive):
            assert DELIVERIES[delivery](await gateway.get(url))
        for times in (1, 2):
            assert await kill(gateway, "mine") == times
            for url in dead:
                for method in ("GET", "HEAD"):
                    answer = await gateway.request(method, url)
                    assert (answer.status, reveals_nothing(answer)) == (401, True)
            anew = await make(gateway, "mine")
            assert f"/i/mine?{link_query('/i/mine', exp=_end_of(anew), killed=times)}" == anew
            assert DELIVERIES[delivery](await gateway.get(anew))
            dead.append(anew)
        assert DELIVERIES[delivery](await gateway.get(alive))
        assert DELIVERIES[delivery](await gateway.get("/i/mine", headers=ALICE))

    async def test_it_holds_in_every_style_at_other_replicas_and_after_a_restart(
        self, start_gateway: StartGateway, images: Images, delivery: str
    ) -> None:
        """The replica reads Redis for each request; the change feed invalidates local entries."""
        sections: Any = {
            "access": ACCESS,
            "image_proxy": {"delivery": delivery},
            "image_styles": {"thumb": "imageMogr2/interlace/1"},
            "url_cache": {"local_ttl": 0},
        }
        replicas = [await start_gateway(**sections) for _ in range(2)]
        await images.add("mine", BODY, owner="alice", public=False)
        url = await make(replicas[0], "mine")
        for replica, style in product(replicas, ("", "&style=thumb")):
            assert (await replica.get(url + style)).status in (200, 302)
        await kill(replicas[0], "mine")
        for replica, style in product((*replicas, await start_gateway(**sections)), ("", "&style=thumb")):
            assert (await replica.get(url + style)).status == 401

    async def test_a_gateway_without_links_does_not_bring_them_back(
        self, start_gateway: StartGateway, images: Images, delivery: str
    ) -> None:
        """It shares the cache and does not read how often links were killed, as ``warm`` with another file."""
        sections: Any = {"image_proxy": {"delivery": delivery}, "postgres": {"listen": False}}
        gateway = await start_gateway(access=ACCESS, **sections)
        without = await start_gateway(access={**ACCESS, "signed_links": None}, **sections)
        await images.add("mine", BODY, owner="alice", public=False)
        dead = await make(gateway, "mine")
        await kill(gateway, "mine")
        alive = await make(gateway, "mine")
        for _ in range(2):  # once for each writer of the entry
            purged = await gateway.request(
                "POST", "/api/v1/cache/purge", admin=True, headers=ADMIN, json={"image_ids": ["mine"]}
            )
            assert purged.status == 200
            assert (await without.get("/i/mine", headers=ALICE)).status in (200, 302)
            assert (await gateway.get(dead)).status == 401
            assert DELIVERIES[delivery](await gateway.get(alive))
            assert DELIVERIES[delivery](await without.get("/i/mine", headers=ALICE))


async def test_the_admin_kills_links_on_the_admin_port_and_others_may_not(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", BODY, owner="alice", public=False)
    url = await make(gateway, "mine")
    path = "/api/v1/images/mine/links"
    for headers, status in (({}, 404), (BOB, 404), (bearer("rubbish"), 401), (ADMIN, 401)):
        assert (await gateway.request("DELETE", path, headers=headers)).status == status
    # A link does not allow its holder to manage links.
    assert (await gateway.request("DELETE", f"{path}?{link_query(path)}")).status == 404
    assert (await gateway.request("DELETE", path, admin=True)).status == 401
    assert (await gateway.get(url)).body == BODY
    unknown = path.replace("mine", "never-there")
    assert (await gateway.request("DELETE", unknown, admin=True, headers=ADMIN)).status == 404
    assert (await gateway.request("DELETE", path, admin=True, headers=ADMIN)).status == 200
    assert (await gateway.get(url)).status == 401


async def test_a_cache_hit_has_the_count_of_kills_without_a_query(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", BODY, owner="alice", public=False)
    before = gateway.changes.number
    await kill(gateway, "mine")
    await until(lambda: gateway.changes.number >= before + 2, what="the notification of what the gateway did itself")
    url = await make(gateway, "mine")
    await gateway.get(url)
    queries = gateway.sample("catalog_queries_total", result="found")
    for _ in range(5):
        assert (await gateway.get(url)).status == 200
        assert (await gateway.get(f"/i/mine?{link_query('/i/mine')}")).status == 401
    assert gateway.sample("catalog_queries_total", result="found") == queries


async def test_a_kill_notifies_the_change_feed(images: Images, links_table: ImagesTable, postgres_dsn: str) -> None:
    """Replicas listen on the channel, and the payload is the image's id."""
    import psycopg2

    connection = await asyncio.to_thread(psycopg2.connect, postgres_dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("LISTEN image_gateway")
        for _ in range(2):
            await images.execute(
                "INSERT INTO image_gateway_links AS links (image_id, killed) VALUES ('mine', 1) "
                "ON CONFLICT (image_id) DO UPDATE SET killed = links.killed + 1"
            )
        cursor.execute("SELECT 1")
    connection.poll()
    assert [(notice.channel, notice.payload) for notice in connection.notifies] == [("image_gateway", "mine")] * 2
    connection.close()


async def test_without_postgres_a_kill_is_an_error(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable
) -> None:
    gateway = await start_gateway(access=ACCESS)
    await images.add("mine", BODY, owner="alice", public=False)
    assert (await gateway.get("/i/mine", headers=ALICE)).status == 200
    await images.execute("DROP TABLE image_gateway_links")
    answer = await gateway.request("DELETE", "/api/v1/images/mine/links", headers=ALICE)
    assert (answer.status, answer.json()["code"]) == (503, "catalog_unavailable")


def _end_of(url: str) -> int:
    found = re.search(r"exp=([0-9]+)", url)
    assert found is not None
    return int(found[1])
