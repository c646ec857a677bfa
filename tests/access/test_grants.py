"""Viewers, groups and grants: whom the application lets view an image besides its owner, at every address alike."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg2.extensions
import pytest

from gateway.catalog.sql_files import changes_sql
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.nginx_files import ACCEL_CONF
from gateway.settings import PostgresSettings
from tests.conftest import ADMIN_TOKEN, JWT_SECRET, Images, RunningGateway, StartGateway, token_for
from tests.waiting import until

TABLES = """
CREATE TABLE pictures (LIKE images INCLUDING DEFAULTS, viewers text[], team text);
CREATE TABLE shares (picture text, viewer text, team text, ends timestamptz);
"""
COLUMNS = {"viewers": "viewers", "groups": "team"}
GRANTS = {"table": "shares", "image": "picture", "user": "viewer", "group": "team", "until": "ends"}
SETTINGS: Mapping[str, Any] = {
    "postgres": {"table": "pictures", "columns": COLUMNS, "grants": GRANTS, "listen": False},
    "image_styles": {"thumb": "imageView2/2/w/9"},
}


@dataclass(frozen=True)
class Row:
    """A row of the table, and who may view it: users by name, and groups."""

    image_id: str
    may_view: frozenset[str]
    public: bool = False
    viewers: tuple[str, ...] | None = None
    team: str | None = None
    shares: tuple[tuple[str | None, str | None, str | None], ...] = ()


def row(image_id: str, *may_view: str, **rest: Any) -> Row:
    return Row(image_id, frozenset({"alice", *may_view}), **rest)


EVERYBODY = ("bob", "carol", "dave", "nobody")
ROWS = (
    row("public", *EVERYBODY, public=True),
    row("private"),
    row("of-viewers", "bob", viewers=("zoe", "bob", "")),
    row("of-a-group", "carol", "dave", team="t1"),
    row("granted-to-a-user", "bob", shares=(("bob", None, None),)),
    row("granted-to-a-group", "dave", shares=((None, "t2", "1 hour"),)),
    row("granted-to-both", "bob", "dave", shares=(("bob", "t2", "1 hour"), ("bob", None, "1 minute"))),
    row("ended", shares=(("bob", "t1", "-1 second"),)),
    row(
        "shared-too-widely",
        shares=(*((f"user-{number}", None, None) for number in range(1000)), ("bob", None, None)),
    ),
)
BY_TOKEN = {"jwt": {"secret": JWT_SECRET, "groups_claim": "teams"}}
GROUPS: Mapping[str, Any] = {"carol": "t1", "dave": ["t2", "t1"]}


@pytest.fixture
async def pictures(images: Images) -> AsyncIterator[Images]:
    """The rows in a table with viewers and groups, beside a table of grants; the objects in COS."""
    await images.execute(TABLES)
    try:
        for made in ROWS:
            await images.add(made.image_id, owner="alice", public=made.public)
            await images.execute(
                "INSERT INTO pictures SELECT images.*, %s, %s FROM images WHERE id = %s",
                list(made.viewers) if made.viewers is not None else None,
                made.team,
                made.image_id,
            )
            for viewer, team, ends in made.shares:
                await images.execute(
                    "INSERT INTO shares VALUES (%s, %s, %s, now() + %s::interval)", made.image_id, viewer, team, ends
                )
        yield images
    finally:
        await images.execute("DROP TABLE pictures, shares")


def sent_by(user: str) -> dict[str, str]:
    """The headers of a request by the user, whose token names the groups of the user."""
    if user == "nobody":
        return {}
    claims = {"teams": GROUPS[user]} if user in GROUPS else {}
    return {"Authorization": f"Bearer {token_for(user, **claims)}"}


async def explain(gateway: RunningGateway, user: str, image_id: str) -> Mapping[str, Any]:
    """What explain says about the user as the caller."""
    given = sent_by(user).get("Authorization", "").removeprefix("Bearer ")
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", **({"X-Explain-Token": given} if given else {})}
    answer = await gateway.request("GET", f"/api/v1/monitoring/explain/{image_id}", admin=True, headers=headers)
    caller: Mapping[str, Any] = answer.json()["data"]["caller"]
    return caller


async def may_view(gateway: RunningGateway, user: str, image_id: str) -> dict[str, bool]:
    """Whether each address says that the user may view the image."""
    headers, image = sent_by(user), f"/api/v1/images/{image_id}"
    requests = {
        "short": ("GET", f"/i/{image_id}"),
        "long": ("GET", f"{image}/proxy"),
        "head": ("HEAD", f"/i/{image_id}"),
        "redirect": ("GET", f"/i/{image_id}?redirect=true"),
        "style": ("GET", f"/i/{image_id}?style=thumb&redirect=true"),
        "url": ("GET", f"{image}/url"),
        "meta": ("GET", f"{image}/meta"),
        "access": ("GET", f"{image}/access"),
    }
    seen = {}
    for name, (method, path) in requests.items():
        answer = await gateway.request(method, path, headers={**headers, "Range": "bytes=0-3"})
        assert answer.status in {200, 206, 302, 403, 404}, (name, answer.status, answer.body)
        seen[name] = answer.status < 400
    batch = await gateway.request(
        "POST", "/api/v1/images/urls", json={"image_ids": [image_id], "include": ["meta"]}, headers=headers
    )
    urls = batch.json()["data"]["urls"]
    seen |= {"batch": image_id in urls, "batch meta": "meta" in urls.get(image_id, {})}
    explained = await explain(gateway, user, image_id)
    seen["explain"] = bool(explained["may_view"])
    return seen


async def test_every_address_says_alike_who_may_view_an_image(start_gateway: StartGateway, pictures: Images) -> None:
    gateway = await start_gateway(**SETTINGS, access=BY_TOKEN)
    for state in ("cold", "warm"):
        for made in ROWS:
            for user in ("alice", *EVERYBODY):
                seen = await may_view(gateway, user, made.image_id)
                expected = user in made.may_view
                assert seen == dict.fromkeys(seen, expected), (state, user, made.image_id)


async def test_viewers_control_nothing(start_gateway: StartGateway, pictures: Images) -> None:
    gateway = await start_gateway(**SETTINGS)
    for method, path in (("GET", "status"), ("POST", "url/refresh")):
        answer = await gateway.request(method, f"/api/v1/images/of-viewers/{path}", headers=sent_by("bob"))
        assert answer.status == 404, path


async def test_what_is_kept_by_a_grant_ends_with_it(start_gateway: StartGateway, pictures: Images) -> None:
    gateway = await start_gateway(**SETTINGS, access=BY_TOKEN)
    await pictures.execute("UPDATE shares SET ends = now() + interval '8 seconds' WHERE picture = 'granted-to-a-group'")
    headers = sent_by("dave")
    for query, expected in (("", 200), ("?redirect=true", 302), ("?v=older", 302)):
        answer = await gateway.get(f"/i/granted-to-a-group{query}", headers=headers)
        assert answer.status == expected
        assert 0 <= int(answer.headers["Cache-Control"].removeprefix("private, max-age=")) <= 8, query
    checked = await gateway.get("/api/v1/images/granted-to-a-group/access", headers=headers)
    assert int(checked.headers.get("X-Decision-For", "0")) <= 8

    async def status() -> int:
        return (await gateway.get("/i/granted-to-a-group", headers=headers)).status

    ended = time.monotonic() + 30
    while await status() == 200:
        assert time.monotonic() < ended
        await asyncio.sleep(0.05)
    assert (await gateway.get("/api/v1/images/granted-to-a-group/access", headers=headers)).status == 403


async def test_an_answer_that_nginx_repeats_keeps_a_browser_no_copy_beyond_the_end_of_a_grant(
    start_gateway: StartGateway, pictures: Images
) -> None:
    """nginx repeats the Cache-Control of the first answer until it drops the answer."""
    gateway = await start_gateway(**SETTINGS, access=BY_TOKEN, image_proxy={"delivery": "accel", "max_age": 60})
    headers = {**sent_by("dave"), CONFIG_VERSION: ACCEL_CONF}
    for ends_in, kept_for in (("1 minute", {0}), ("65 seconds", set(range(6))), ("1 hour", {10})):
        await pictures.execute("UPDATE shares SET ends = now() + %s::interval WHERE team = 't2'", ends_in)
        purge = {"json": {"image_ids": ["granted-to-a-group"]}, "headers": {"Authorization": f"Bearer {ADMIN_TOKEN}"}}
        await gateway.request("POST", "/api/v1/cache/purge", admin=True, **purge)
        answer = await gateway.get("/i/granted-to-a-group", headers=headers)
        assert "X-Accel-Redirect" in answer.headers
        assert int(answer.headers.get("X-Decision-For", "0")) in kept_for, ends_in


async def test_the_end_of_a_grant_may_be_infinite_or_of_the_sessions_time_zone(
    start_gateway: StartGateway, pictures: Images, postgres_dsn: str
) -> None:
    zone = "Asia/Shanghai"
    await pictures.execute(
        "ALTER TABLE shares ADD of_session timestamp;"
        "UPDATE shares SET of_session = now() AT TIME ZONE %s + interval '30 seconds' WHERE viewer IS NULL;"
        "UPDATE shares SET of_session = 'infinity', ends = 'infinity' WHERE picture = 'granted-to-a-user'",
        zone,
    )
    dsn = psycopg2.extensions.make_dsn(postgres_dsn, options=f"-c timezone={zone}")
    for column in ("ends", "of_session"):
        postgres = {**SETTINGS["postgres"], "dsn": dsn, "grants": {**GRANTS, "until": column}}
        gateway = await start_gateway(postgres=postgres, access=BY_TOKEN)
        assert (await gateway.get("/i/granted-to-a-user", headers=sent_by("bob"))).status == 200, column
    answer = await gateway.get("/i/granted-to-a-group", headers=sent_by("dave"))
    assert 0 < int(answer.headers["Cache-Control"].removeprefix("private, max-age=")) <= 30


async def test_a_change_of_a_grant_is_heard_at_once(
    start_gateway: StartGateway, pictures: Images, postgres_dsn: str
) -> None:
    """The table of grants needs a trigger of its own, which ``sql changes`` prints with that of the images."""
    section = {key: value for key, value in SETTINGS["postgres"].items() if key != "listen"}
    settings = PostgresSettings.model_validate({"dsn": postgres_dsn, **section})
    sql = await asyncio.to_thread(changes_sql, settings)
    await pictures.execute(sql.replace("%", "%%"))
    gateway = await start_gateway(postgres=section, access=BY_TOKEN)

    async def sees(status: int) -> bool:
        return (await gateway.get("/i/private", headers=sent_by("bob"))).status == status

    assert await sees(404)
    for statement, status in (
        ("INSERT INTO shares VALUES ('private', 'bob', NULL, NULL)", 200),
        ("UPDATE shares SET picture = 'of-viewers' WHERE picture = 'private'", 404),
        ("UPDATE shares SET picture = 'private' WHERE picture = 'of-viewers'", 200),
        ("UPDATE shares SET ends = now() WHERE picture = 'private'", 404),
        ("UPDATE shares SET ends = NULL WHERE picture = 'private'", 200),
        ("DELETE FROM shares WHERE picture = 'private'", 404),
    ):
        await pictures.execute(statement)
        await until(partial(sees, status))


async def test_groups_of_a_trusted_proxy_count_and_those_of_a_client_do_not(
    start_gateway: StartGateway, pictures: Images
) -> None:
    forwarded = {"groups_header": "X-User-Groups", "trusted_proxies": ["127.0.0.1"]}
    trusting = await start_gateway(**SETTINGS, access={"jwt": None, "forwarded_user": forwarded})
    elsewhere = {**forwarded, "trusted_proxies": ["192.0.2.1"]}
    careful = await start_gateway(**SETTINGS, access={"jwt": None, "forwarded_user": elsewhere})
    headers = {"X-User-Id": "erin", "X-User-Groups": "t0, t1 ,t9"}
    assert (await trusting.get("/i/of-a-group", headers=headers)).status == 200
    assert (await trusting.get("/i/of-a-group", headers={"X-User-Groups": "t1"})).status == 404, "nobody's groups"
    assert (await careful.get("/i/of-a-group", headers=headers)).status == 404
    too_many = ",".join(map(str, range(201)))
    assert (await trusting.get("/i/private", headers={**headers, "X-User-Groups": too_many})).status == 401


async def test_explain_names_the_grant_and_its_end(start_gateway: StartGateway, pictures: Images) -> None:
    gateway = await start_gateway(**SETTINGS, access=BY_TOKEN)

    async def why(image_id: str, user: str) -> str:
        return str((await explain(gateway, user, image_id))["why"])

    reason = await why("granted-to-a-group", "dave")
    assert reason.startswith("by a grant of the group t2 until 20")
    assert await why("of-viewers", "bob") == "by a grant of the user bob"
    assert (await why("granted-to-a-user", "carol")).endswith("no grant is for the user or a group of the user")
    assert "more than 1000 grants" in await why("shared-too-widely", "bob")


async def test_an_image_with_too_many_grants_is_logged_once(
    start_gateway: StartGateway, pictures: Images, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(**SETTINGS, access=BY_TOKEN)
    for _ in range(3):
        for image_id in ("shared-too-widely", "granted-to-a-user"):
            await explain(gateway, "bob", image_id)
            await gateway.get(f"/i/{image_id}", headers=sent_by("bob"))
            await gateway.request("POST", f"/api/v1/images/{image_id}/url/refresh", headers=sent_by("alice"))
    expected = "image is for its owner alone: image_id=shared-too-widely reason=over 1000 grants"
    assert [line for record in caplog.records if "owner alone" in (line := record.getMessage())] == [expected]
