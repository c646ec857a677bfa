"""An application moves in by ``docs/move-in.md``: the blocks of the page run on a real Postgres and a real nginx."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml
import yarl

from gateway.catalog.sql_files import changes_sql
from gateway.checks.database import DatabaseCheck
from gateway.checks.redis import RULES
from gateway.concurrency.background import background
from gateway.settings import PostgresSettings
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.config.files import CONFIG, read
from tests.conftest import BUCKET, JWT_SECRET, RunningGateway, StartGateway, token_for
from tests.nginx.conftest import Nginx, starting_nginx, upstreams
from tests.paintings import at
from tests.processes import run_gateway
from tests.stories.own_proxy import STORED, OwnProxy, running_own_proxy
from tests.waiting import until

PAGE: Final = read("docs/move-in.md")
RECIPES: Final = dict(re.findall(r"^### (.+?)\n(.*?)(?=^###? |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
# What stands for a name in the SQL and the addresses below.
IDS: Final = {
    "FIRST": "11111111-1111-4111-8111-111111111111",
    "SECOND": "22222222-2222-4222-8222-222222222222",
    "ANN": "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
    "BOB": "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb",
}
GROUPS: Final = {"ANN": [IDS["SECOND"]], "BOB": [IDS["FIRST"]]}  # in tokens


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@dataclass(frozen=True)
class Step:
    """What the application does to its tables, and what a user then gets: the object of that key, or None for 404."""

    sql: str
    path: str
    key: str | None
    user: str | None = None


STEPS: Final[Mapping[str, list[Step]]] = {
    "Django": [
        Step(
            "INSERT INTO gallery_photo VALUES (7, 'photos/通义 a.png', 1, true), (8, 'b.png', 1, false)",
            "/i/7",
            "media/photos/通义 a.png",
        ),
        Step("", at("photos/通义 a.png"), "media/photos/通义 a.png"),
        Step("", "/i/8", None),
        Step("", "/i/8", "media/b.png", user="1"),
        Step("UPDATE gallery_photo SET is_public = true WHERE id = 8", at("b.png"), "media/b.png"),
        Step("UPDATE gallery_photo SET image = 'c.png' WHERE id = 8", "/i/8", "media/c.png"),
        Step("DELETE FROM gallery_photo WHERE id = 7", at("photos/通义 a.png"), None),
    ],
    "Rails with ActiveStorage": [
        Step(
            "INSERT INTO photos VALUES (5, 1, false);"
            "INSERT INTO active_storage_blobs VALUES (3, 'k3', 'a', 'image/png', 9), (4, 'k4', 'b', 'image/png', 9);"
            "INSERT INTO active_storage_attachments VALUES (1, 'image', 'Photo', 5, 3), (2, 'image', 'User', 5, 4)",
            "/i/5",
            None,
        ),
        Step("", "/i/5", "k3", user="1"),
        Step("UPDATE photos SET published = true", "/i/5", "k3"),
        Step("UPDATE active_storage_attachments SET blob_id = 4 WHERE id = 1", "/i/5", "k4"),
        Step("DELETE FROM active_storage_attachments WHERE id = 1", "/i/5", None),
        Step("INSERT INTO active_storage_attachments VALUES (9, 'image', 'Photo', 5, 3)", "/i/5", "k3"),
    ],
    "Laravel": [
        Step("INSERT INTO images VALUES (1, 7, 'shop/a.png', 'image/png', 'public')", "/i/1", "shop/a.png"),
        Step("UPDATE images SET visibility = 'private'", "/i/1", None),
        Step("", "/i/1", "shop/a.png", user="7"),
        Step("UPDATE images SET deleted_at = now()", "/i/1", None, user="7"),
        Step("UPDATE images SET deleted_at = NULL", "/i/1", "shop/a.png", user="7"),
    ],
    "Organisations, with groups in the token": [
        Step("INSERT INTO pictures VALUES ('FIRST', 'FIRST', 'FIRST', 'o/1.png')", "/i/FIRST", None),
        Step("", "/i/FIRST", "o/1.png", user="BOB"),
        Step("", "/i/FIRST", None, user="ANN"),
        Step("INSERT INTO picture_shares VALUES ('FIRST', 'ANN')", "/i/FIRST", "o/1.png", user="ANN"),
        Step("UPDATE picture_shares SET user_id = NULL, organisation_id = 'BOB'", "/i/FIRST", None, user="ANN"),
        Step("UPDATE picture_shares SET organisation_id = 'SECOND'", "/i/FIRST", "o/1.png", user="ANN"),
        Step("UPDATE picture_shares SET expires_at = now()", "/i/FIRST", None, user="ANN"),
        Step("UPDATE pictures SET status = 'new'", "/i/FIRST", None, user="BOB"),
    ],
    "Organisations, with memberships in a table": [
        Step("INSERT INTO pictures VALUES ('FIRST', 'SECOND', 'BOB', 'o/1.png')", "/i/FIRST", None, user="ANN"),
        Step("", "/i/FIRST", "o/1.png", user="BOB"),
        Step(
            "SET LOCAL search_path = ''; INSERT INTO public.memberships VALUES ('SECOND', 'ANN')",
            "/i/FIRST",
            "o/1.png",
            user="ANN",
        ),
        Step("DELETE FROM memberships", "/i/FIRST", None, user="ANN"),
        Step("INSERT INTO memberships VALUES ('FIRST', 'ANN')", "/i/FIRST", None, user="ANN"),
        Step("UPDATE pictures SET organisation_id = 'FIRST'", "/i/FIRST", "o/1.png", user="ANN"),
    ],
    "A shop with slugs": [
        Step(
            "INSERT INTO products VALUES (1, 'red-shoe', 'draft', NULL), (2, 'hat', 'live', NULL);"
            "INSERT INTO product_files VALUES (1, 1, 'shoe.png'), (1, 2, 'sole.png'), (2, 1, 'hat.png')",
            at("red-shoe"),
            None,
        ),
        Step("UPDATE products SET state = 'live' WHERE id = 1", at("red-shoe"), "shoe.png"),
        Step("UPDATE product_files SET position = 3 - position WHERE product_id = 1", at("red-shoe"), "sole.png"),
        Step("UPDATE products SET deleted_at = now() WHERE id = 1", at("red-shoe"), None),
        Step("UPDATE products SET deleted_at = NULL, slug = 'blue-shoe' WHERE id = 1", at("blue-shoe"), "sole.png"),
        Step("", at("red-shoe"), None),
        Step("DELETE FROM product_files WHERE position = 1", "/i/1", None),
    ],
}


def named(text: str) -> str:
    for name, image_id in IDS.items():
        text = text.replace(name, image_id)
    return text


async def run(dsn: str, *scripts: str) -> None:
    """Run each script in a transaction, in which no index can be built beside writes."""
    for sql in map(named, scripts):
        await asyncio.to_thread(ImagesTable(dsn)._run, sql.replace(" CONCURRENTLY", ""))


async def follow(step: Step, gateway: RunningGateway, dsn: str) -> None:
    """Take the step. Its effect is seen at once, or at an alias that was unknown before, within a few seconds."""
    if step.sql:
        await run(dsn, step.sql)
    headers = {}
    if step.user is not None:
        token = token_for(named(step.user), organisations=GROUPS.get(step.user, []))
        headers["Authorization"] = f"Bearer {token}"
    expected = (404, None) if step.key is None else (200, f"bytes of {step.key}".encode())

    async def is_seen() -> bool:
        answer = await gateway.get(named(step.path), headers=headers)
        return (answer.status, answer.body if answer.status == 200 else None) == expected

    await until(is_seen, seconds=20 if step.path.startswith("/a/") and step.key is not None else 10)


def test_each_recipe_of_the_page_is_tried() -> None:
    assert STEPS.keys() == RECIPES.keys()


def test_what_the_page_runs_on_the_applications_tables_holds_up_no_writes_or_says_so() -> None:
    sql = "".join(blocks(PAGE, "sql"))
    assert len(re.findall(r"^CREATE (?:UNIQUE )?INDEX CONCURRENTLY ", sql, re.MULTILINE)) == sql.count(" INDEX ") == 4
    assert sql.index(" INDEX CONCURRENTLY pictures_organisation_id") < sql.index("CREATE TRIGGER image_gateway_members")
    [stored] = [paragraph for paragraph in PAGE.split("\n\n") if " STORED`" in paragraph]
    assert "rewrites the whole table" in stored
    assert "lock_timeout" in stored


@pytest.mark.parametrize("name", STEPS)
async def test_a_recipe_serves_the_tables_as_they_are_and_hears_each_change(
    own_dsn: str, start_gateway: StartGateway, cos: CosEmulator, name: str
) -> None:
    for key in {step.key for step in STEPS[name] if step.key is not None}:
        cos.store.put(BUCKET, key, f"bytes of {key}".encode(), content_type="image/png")
    configuration = yaml.safe_load(blocks(RECIPES[name], "yaml")[0])
    postgres = {**configuration["postgres"], "dsn": own_dsn}
    settings = PostgresSettings.model_validate(postgres)
    first, *others = STEPS[name]
    await run(own_dsn, *blocks(RECIPES[name], "sql"), await asyncio.to_thread(changes_sql, settings), first.sql)
    claims = configuration.get("access", {}).get("jwt", {})
    gateway = await start_gateway(postgres=postgres, access={"jwt": {**claims, "secret": JWT_SECRET}})
    check = DatabaseCheck(gateway.service.stores.catalog, settings, signs_links=False)
    found = [finding async for finding in check.findings()]
    assert [finding for finding in found if finding.level == "warning" or not finding.is_well] == []
    for step in (replace(first, sql=""), *others):
        await follow(step, gateway, own_dsn)


KEYS: Final = ("ai_generated/通义万相/x.png", "a b+c%d#e?f.png", "plain.png", "slides/1.png", "slides/2 ü.png")
SITE: Final = """
server {
    listen 80;
    location / { proxy_pass http://application; }
    <included>
    <shared>
}
"""


@dataclass
class Site:
    """The application's host: nginx, with the files that the page has for it."""

    nginx: Nginx
    shipped: Path

    async def switch(self, *, to_gateway: bool) -> None:
        """Put the include line in, or comment it out, and reload nginx."""
        configuration = self.nginx.folder / "nginx.conf"
        line = f"include {self.shipped};"
        text = re.sub(rf"(#\s*)?{re.escape(line)}", line if to_gateway else f"# {line}", configuration.read_text())
        configuration.write_text(text)
        ended = self.nginx.log.count("exited with code 0")  # workers of a configuration before
        self.nginx.process.send_signal(signal.SIGHUP)
        await until(lambda: self.nginx.log.count("exited with code 0") > ended)

    async def bodies(self, query: str = "") -> dict[str, tuple[int, bytes]]:
        """What each stored address answers."""
        return {
            key: (answer.status, answer.body)
            for key in KEYS
            for answer in [await self.nginx.get(f"{STORED}{quote(key)}{query}", Connection="close")]
        }


@pytest.fixture
async def application(own_dsn: str, redis_url: str, cos: CosEmulator, redis_client: object) -> AsyncIterator[OwnProxy]:
    """The application with its images."""
    del redis_client  # which leaves an empty Redis
    async with running_own_proxy(own_dsn, redis_url, cos) as running:
        for key in KEYS:
            await running.add(key)
        yield running
        await running.redis.delete(*await running.redis.keys("gateway:*"))


@pytest.mark.usefixtures("forked_commands")
async def test_an_application_moves_in_beside_its_own_proxy_and_back(
    application: OwnProxy,
    own_dsn: str,
    raw_settings: dict[str, dict[str, Any]],
    start_gateway: StartGateway,
    tmp_path: Path,
) -> None:
    assert RULES in section("The Redis that both use")
    expected = {key: (200, f"bytes of {key}".encode()) for key in KEYS}
    [configured] = blocks(section("An application without a login"), "yaml")
    sections = yaml.safe_load(configured)
    sections["postgres"]["dsn"] = own_dsn
    file, printed = tmp_path / "gateway.yaml", {}
    for name, changes in (("shared", {"prefix": "image:"}), ("own", {})):
        redis = {**raw_settings["redis"], **sections["redis"], **changes}
        file.write_text(yaml.safe_dump({**raw_settings, **sections, "redis": redis}))
        await application.redis.set("image:url:plain.png", '{"url": "https://b.example", "expires_at": 1}')
        printed[name] = (await run_gateway("check", "--config", str(file)))[1]
    await application.redis.delete("image:url:plain.png")
    assert "another program has keys under the prefix image:" in printed["shared"]
    assert "set redis.prefix to another one" in printed["shared"]
    assert "another program" not in printed["own"]
    assert "no trigger on images notifies of changes" in printed["own"]

    [index] = blocks(section("Stored addresses"), "sql")
    code, sql = await run_gateway("sql", "changes", "--config", str(file))
    assert code == 0
    await run(own_dsn, index, sql)
    gateway = await start_gateway(**sections)
    shipped, folder = tmp_path / "stored-addresses.conf", tmp_path / "nginx"
    shipped.write_text((CONFIG / "nginx" / "stored-addresses.conf").read_text())
    [*_, narrow] = [line for block in blocks(PAGE, "sh") for line in block.splitlines() if line.startswith("sed -i")]
    narrow = narrow.replace("/etc/nginx", str(tmp_path)).replace("/YOUR/OLD/PATH/", "/api/v1/img-access/")
    narrowing = await asyncio.create_subprocess_shell(narrow)
    assert await narrowing.wait() == 0
    assert "location ^~ /api/v1/img-access/slides/ {" in shipped.read_text()

    [shared] = blocks(section("A host name or shared paths"), "nginx")
    http = upstreams(gateway.address) + (
        f"upstream application {{ server {application.url.removeprefix('http://')}; }}\n"
        + SITE.replace("<included>", f"# include {shipped};").replace("<shared>", shared)
    )
    folder.mkdir()
    async with starting_nginx(folder) as start:
        site = Site(await start(http, main="user root;\nworker_processes 1;"), shipped)
        assert await site.bodies() == expected
        assert application.served == list(KEYS)
        assert (await site.nginx.get("/i/3")).body == b"bytes of plain.png"
        assert (await site.nginx.get("/api/v1/images/3/url")).json() == {"application": "3"}

        await site.switch(to_gateway=True)
        application.served.clear()
        assert await site.bodies() == expected
        assert set(application.served) == {key for key in KEYS if not key.startswith("slides/")}, "one folder at first"

        shipped.write_text(shipped.read_text().replace("/img-access/slides/ {", "/img-access/ {"))
        await site.switch(to_gateway=True)
        application.served.clear()
        for query in ("", "?mode=proxy", "?refresh=true"):
            assert await site.bodies(query) == expected
        for key in KEYS:
            redirect = await site.nginx.get(f"{STORED}{quote(key)}?mode=redirect")
            async with application.session.get(yarl.URL(redirect.headers["Location"], encoded=True)) as answer:
                assert await answer.read() == f"bytes of {key}".encode()
        assert application.served == []

        entries = await application.redis.keys("gateway:*")
        assert len(entries) > len(KEYS)
        await application.clean_up()
        assert set(entries) <= set(await application.redis.keys("gateway:*"))
        assert len(await application.redis.keys("image:url:*")) == len(KEYS)

        await application.execute("UPDATE images SET deleted_at = now() WHERE cos_key = 'plain.png'")

        async def is_deleted() -> bool:
            return (await site.nginx.get(f"{STORED}plain.png")).status == 404

        await until(is_deleted, seconds=10)
        await application.execute("UPDATE images SET deleted_at = NULL WHERE cos_key = 'plain.png'")

        async def is_back() -> bool:
            return await site.bodies() == expected

        await until(is_back, seconds=20)
        seen: list[dict[str, tuple[int, bytes]]] = []

        async def ask() -> None:
            while True:
                seen.append(await site.bodies())

        async with background("users", ask()):
            for to_gateway in (False, True, False):
                rounds = len(seen)
                await site.switch(to_gateway=to_gateway)
                await until(partial(lambda least: len(seen) > least + 2, rounds))
        assert [bodies for bodies in seen if bodies != expected] == [], "no request failed"
        application.served.clear()
        assert await site.bodies() == expected
        assert set(application.served) == set(KEYS), "the application answers again"
