"""Every reason why an image is served or not, asked of a running gateway."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest
import redis

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow, ImagesTable
from tests.access.credentials import ACCESS, LINK_KEY, OLD_LINK_KEY, link_query, token
from tests.conftest import (
    ADMIN_TOKEN,
    BUCKET,
    JWT_SECRET,
    SECRET_ID,
    SECRET_KEY,
    Images,
    RunningGateway,
    StartGateway,
)
from tests.waiting import until

KEY = "objects/cat.png"
ASK = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


@pytest.fixture
async def asked(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway with every kind of credential."""
    del links_table
    return await start_gateway(access=ACCESS)


async def explained(
    gateway: RunningGateway, image_id: str = "cat", *, query: str = "", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the explanation that the admin address gives."""
    path = f"/api/v1/monitoring/explain/{image_id}{query}"
    answer = await gateway.request("GET", path, admin=True, headers=ASK | dict(headers or {}))
    assert answer.status == 200
    data: dict[str, Any] = answer.json()["data"]
    return data


def link(path: str = "/i/cat", **changes: Any) -> dict[str, str]:
    """Return the field with a link, of alice's image for a minute unless ``changes`` say otherwise."""
    return {"X-Explain-Link": f"https://images.example{path}?{link_query(path, **changes)}"}


async def test_a_served_image_is_explained_from_the_row_to_the_caches(asked: RunningGateway, images: Images) -> None:
    await images.add("cat", b"seventeen bytes ..", owner="alice")
    data = await explained(asked)
    assert data["verdict"]["served"] is True
    assert data["verdict"]["reason"] == "the client gets the image, 18 bytes, streamed by the gateway"
    row = data["row"]
    known = {"owner": "alice", "visibility": "public", "status": "active", "bucket": BUCKET, "key": KEY}
    assert known.items() <= row.items()
    first, head = data["cos"]["first_byte"], data["cos"]["head"]
    assert (first["url"], first["status"], head["status"]) == ("newly signed", 206, 200)
    for answer in (first, head):
        assert (answer["size"], answer["type"]) == (18, "image/png")
        assert answer["crc64"].isdecimal()
        assert answer["request_id"]
        assert answer["milliseconds"] > 0
    assert data["delivery"]["headers"]["Cache-Control"].startswith("public, max-age=3600")
    assert data["delivery"]["headers"]["Content-Length"] == 18
    assert data["kept"]["browser"].startswith("3600 s")
    assert data["kept"]["cdn"].startswith("3600 s")


async def test_the_cached_url_is_reported_from_memory_and_from_redis(asked: RunningGateway, images: Images) -> None:
    await images.add("cat")
    for _ in range(2):  # an explanation is no use of the image
        cached = (await explained(asked))["cached_url"]
        assert [cached[tier]["state"] for tier in ("memory", "redis", "renewal")] == [
            "nothing",
            "nothing",
            "not queued",
        ]
    assert asked.sample("url_cache_lookups_total", tier="local", result="miss") == 0
    assert (await asked.get("/i/cat")).status == 200
    data = await explained(asked)
    cached = data["cached_url"]
    assert cached["memory"]["state"] == "fresh"
    assert 0 < cached["memory"]["fresh_for_seconds"] <= 30
    for tier in ("memory", "redis"):
        assert 3200 < cached[tier]["seconds_left"] <= 3600
        assert cached[tier]["handed_out_for_seconds"] == cached[tier]["seconds_left"] - 60
    assert cached["renewal"]["state"] == "queued"
    assert 0 < cached["renewal"]["due_in_seconds"] < 3600
    assert data["cos"]["first_byte"]["url"] == "the cached one"


async def test_a_renewal_that_was_given_up_and_an_entry_that_is_not_used_are_reported(
    asked: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("cat")
    dead = json.dumps({"reason": "Postgres was away sign=abc", "at": 1_700_000_000.0, "attempts": 5})
    redis_client.hset("image:refresh:dead", "cat", dead)
    redis_client.set("image:url:cat", f"{int(time.time()) + 900} forged", ex=900)
    cached = (await explained(asked))["cached_url"]
    assert "not used" in cached["redis"]["state"]
    found = {"state": "given up", "reason": "Postgres was away sign=***", "attempts": 5}
    assert found.items() <= cached["renewal"].items()


@pytest.mark.parametrize(
    ("row", "reason", "advice"),
    [
        (
            ImageRow("cat", None, KEY, public=True, status="deleted"),
            "its status is deleted, and not",
            "look at the row",
        ),
        (ImageRow("cat", None, "/../", public=True), "the key names the bucket", "look at the row"),
        (None, "the table has no row with this id", "check the id"),
    ],
)
async def test_a_row_that_is_not_served_is_a_404(
    asked: RunningGateway, images: Images, row: ImageRow | None, reason: str, advice: str
) -> None:
    if row is not None:
        await images.add_row(row)
    data = await explained(asked)
    assert (data["verdict"]["status"], data["verdict"]["code"]) == (404, "image_not_found")
    assert reason in data["verdict"]["reason"]
    assert data["verdict"]["advice"].startswith(advice)
    assert (await asked.get("/i/cat")).status == 404
    assert "no-store" in data["kept"]["browser"]


async def test_a_redirect_is_explained_without_its_url(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect"})
    await images.add("cat")
    data = await explained(gateway)
    assert data["verdict"]["status"] == data["delivery"]["status"] == 302
    assert data["delivery"]["headers"]["Location"] == "a presigned URL at 127.0.0.1"
    explained_for, sent_for = (
        int(headers["Cache-Control"].removeprefix("public, max-age="))
        for headers in (data["delivery"]["headers"], (await gateway.get("/i/cat")).headers)
    )
    assert 0 <= explained_for - sent_for < 30, "seconds pass between the two, and the URL's life with them"
    assert data["kept"]["nginx"].startswith("nothing")


async def test_a_postgres_that_is_away_leaves_the_cached_row(
    start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    gateway = await start_gateway(postgres={"listen": False})
    await images.add("cat")
    await gateway.get("/i/cat")
    await images.execute("ALTER TABLE images RENAME TO pictures")
    try:
        data = await explained(gateway)
        other = await explained(gateway, "dog")
    finally:
        await images.execute("ALTER TABLE pictures RENAME TO images")
    assert data["verdict"]["served"]
    assert data["row"]["used"] == "that of the cached entry"
    assert (other["verdict"]["status"], other["verdict"]["code"]) == (503, "catalog_unavailable")
    assert "there is no table" in other["verdict"]["reason"]


async def test_an_entry_whose_row_may_have_changed_unheard_is_read_again_as_a_request_does(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    earlier = await start_gateway(postgres={"listen": False})
    assert (await earlier.get("/i/cat")).status == 200
    await images.execute("UPDATE images SET storage_status = 'deleted' WHERE id = 'cat'")
    gateway = await start_gateway(postgres={"listen": True})
    data = await explained(gateway)
    assert data["cached_url"]["redis"]["state"] == "an entry, not used before its row is read again"
    assert "in_use" not in data["row"]
    assert data["verdict"]["status"] == (await gateway.get("/i/cat")).status == 404


async def test_a_postgres_that_is_away_leaves_an_entry_whose_row_may_have_changed_as_it_does_for_a_request(
    start_gateway: StartGateway, images: Images
) -> None:
    await images.add("cat")
    earlier = await start_gateway(postgres={"listen": False})
    assert (await earlier.get("/i/cat")).status == 200
    gateway = await start_gateway(postgres={"listen": True})
    await images.execute("ALTER TABLE images RENAME TO pictures")
    try:
        data = await explained(gateway)
        answer = await gateway.get("/i/cat")
    finally:
        await images.execute("ALTER TABLE pictures RENAME TO images")
    assert data["verdict"]["status"] == answer.status == 200
    assert data["row"]["used"] == "that of the cached entry"
    assert data["delivery"]["headers"]["Cache-Control"] == answer.headers["Cache-Control"] == "public, max-age=5"
    assert data["kept"]["nginx"] == "nothing: the row could not be read"


async def test_an_image_that_memory_knows_as_missing_is_explained_as_not_yet_found(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(postgres={"listen": False})
    names = (f"cat-{number}" for number in range(100))

    async def is_remembered() -> bool:
        """Ask for an image before it has a row, then for the explanation: a busy machine may be too late for it."""
        name = next(names)
        assert (await gateway.get(f"/i/{name}")).status == 404
        await images.add(name)
        data = await explained(gateway, name)
        if data["cached_url"]["memory"]["state"] == "nothing" or "in_use" not in data["row"]:
            return False
        assert data["cached_url"]["memory"]["state"] == "remembered as missing"
        assert re.fullmatch(
            r"the gateway remembers that there is no such image, for [1-3] s at most", data["row"]["in_use"]
        )
        assert data["row"]["in_use"] in data["verdict"]["reason"]
        return (await gateway.get(f"/i/{name}")).status == 404

    await until(is_remembered)


async def test_nothing_secret_is_explained(asked: RunningGateway, images: Images, cos: CosEmulator) -> None:
    """Search the whole answer, also of failures, for every secret of the configuration and every signature."""
    await images.add("cat", owner="alice", public=False)
    await asked.get("/i/cat", headers={"Authorization": f"Bearer {token()}"})
    good, bad = token(), token(exp=1)
    given: list[dict[str, str]] = [{"X-Explain-Token": good}, {"X-Explain-Token": bad}, link(), link(killed=1), {}]
    texts = [json.dumps(await explained(asked, headers=headers)) for headers in given]
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key=KEY, times=None))
    texts.append(json.dumps(await explained(asked, query="?user=alice")))
    assert len(cos.request_log.of(KEY)) >= 6
    secrets = [SECRET_ID, SECRET_KEY, JWT_SECRET, LINK_KEY, OLD_LINK_KEY, ADMIN_TOKEN, good, bad, "q-sign", "sig="]
    secrets += [good.rpartition(".")[2], bad.rpartition(".")[2], link_query("/i/cat").rpartition("=")[2]]
    for text in texts:
        assert re.search(r"\b[0-9a-f]{40}\b", text) is None, "a signature of COS is 40 hexadecimal digits"
        assert [secret for secret in secrets if secret in text] == []


async def test_it_says_since_when_nginx_has_forgotten_its_copies(asked: RunningGateway, images: Images) -> None:
    await images.add("cat")

    async def nginx_has(form: str) -> bool:
        return re.fullmatch(form, (await explained(asked))["kept"]["nginx_that_asks"]) is not None

    date = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    await until(lambda: nginx_has(f"no copy from before {date}: no change since then"))
    await images.execute("UPDATE images SET user_id = 'bob' WHERE id = 'cat'")
    await until(lambda: nginx_has(rf"no copy from before {date}: the last change was \d+ s ago"))


async def test_the_address_needs_the_admin_token_and_takes_one_credential(
    asked: RunningGateway, images: Images
) -> None:
    await images.add("cat")
    path = "/api/v1/monitoring/explain/cat"
    assert (await asked.request("GET", path, admin=True)).status == 401
    assert (await asked.get(path, headers=ASK)).status == 404
    two = await asked.request("GET", f"{path}?user=bob", admin=True, headers={**ASK, "X-Explain-Token": "x"})
    assert (two.status, two.json()["code"]) == (400, "invalid_request")
