"""Two replicas become this version one after the other, and the previous one again, under load."""

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import redis
import yaml
from PIL import Image
from yarl import URL

from gateway_dev.database import ImagesTable
from tests.answering import answering
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, token_for
from tests.nginx.conftest import CONFIG, Nginx, starting_nginx
from tests.nginx.test_rolling_restart import RawSettings, Replica, upstream_of
from tests.ports import reserved_port
from tests.processes import GATEWAY, run_gateway
from tests.upgrade.conftest import ROOT, Release
from tests.waiting import running, until

pytestmark = pytest.mark.usefixtures("forked_commands")

IMAGES = 20
WAYS = 7  # kinds of requests
PAUSE = 0.02  # of each client between two requests: it leaves the processor to the gateways that start
ALICE = {"Authorization": f"Bearer {token_for('alice')}"}
AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
# URLs that end after a minute are renewed all the time, by whichever version claims them.
SHORT_LIVED: RawSettings = {
    "url_cache": {"default_ttl": 60, "min_remaining": 5, "sign_window": 1, "local_ttl": 1},
    "url_prerefresh": {"threshold": 50, "lease": 10, "interval": 1, "idle_after": 3600},
    "image_styles": {
        "thumb": "imageMogr2/thumbnail/8x",
        "card": {"process": "imageMogr2/thumbnail/{width}x>", "widths": [4, 8], "formats": ["webp"]},
    },
}


def png(color: str) -> bytes:
    """Return an image of 16 by 12 pixels."""
    out = io.BytesIO()
    Image.new("RGB", (16, 12), color).save(out, "PNG")
    return out.getvalue()


RED, BLUE = png("red"), png("blue")


class Load:
    """Clients of the gateways behind nginx. ``outcomes`` counts the answers by way; a right one ends with ``ok``."""

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx
        self._numbers = count()
        self.outcomes: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests of every kind until the context ends."""
        ways = (self._image, self._private, self._style, self._redirect, self._batch, self._link, self._renewal)
        async with running(*(self._repeat(way) for way in (*ways, self._image))):
            yield

    async def more(self) -> None:
        """Return when each client has had some more answers."""
        before = self.outcomes.copy()
        await until(
            lambda: all(self.outcomes[way] > before[way] + 10 for way in before if way.endswith(": ok")), what="answers"
        )

    async def _repeat(self, way: Callable[[int], Awaitable[str]]) -> None:
        while True:
            try:
                outcome = await way(next(self._numbers) % IMAGES)
            except (aiohttp.ClientError, KeyError, ValueError) as error:
                outcome = repr(error)
            self.outcomes[f"{way.__name__}: {outcome}"] += 1
            await asyncio.sleep(PAUSE)

    async def _ask(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Mapping[str, str]]:
        url = URL(path if path.startswith("http") else self._nginx.url + path, encoded=True)
        async with self._nginx.session.request(method, url, allow_redirects=False, **options) as answer:
            return answer.status, await answer.read(), answer.headers

    async def _image(self, number: int) -> str:
        status, body, _ = await self._ask("GET", f"/i/public-{number}")
        return "ok" if (status, body) == (200, RED) else f"{status} {body!r}"

    async def _private(self, number: int) -> str:
        path = f"/api/v1/images/private-{number}/proxy"
        status, body, _ = await self._ask("GET", path, headers=ALICE)
        denied, _, _ = await self._ask("GET", path)
        return "ok" if (status, body, denied) == (200, RED, 404) else f"{status} {denied} {body!r}"

    async def _style(self, number: int) -> str:
        style = "thumb" if number % 2 else "card&w=8&format=webp"
        status, body, headers = await self._ask("GET", f"/i/public-{number}?style={style}")
        right = ("image/png", b"\x89PNG") if number % 2 else ("image/webp", b"RIFF")
        return "ok" if (headers["Content-Type"], body[:4]) == right else f"{status} {body!r}"

    async def _redirect(self, number: int) -> str:
        status, _, headers = await self._ask("GET", f"/i/public-{number}?redirect=true")
        status, body, _ = await self._ask("GET", headers["Location"])
        return "ok" if (status, body) == (200, RED) else f"{status} {body!r}"

    async def _batch(self, number: int) -> str:
        ids = [f"private-{number}", f"public-{number}"]
        status, body, _ = await self._ask("POST", "/api/v1/images/urls", json={"image_ids": ids}, headers=ALICE)
        urls = json.loads(body)["data"]["urls"]
        served = [await self._ask("GET", urls[image_id]["url"]) for image_id in ids]
        return "ok" if [body for _, body, _ in served] == [RED, RED] else f"{status} {served}"

    async def _link(self, number: int) -> str:
        path = f"/api/v1/images/private-{number}/link"
        _, made, _ = await self._ask("POST", path, json={"expires_in": 60}, headers=ALICE)
        url = urlsplit(json.loads(made)["data"]["url"])
        status, body, _ = await self._ask("GET", f"{url.path}?{url.query}")
        return "ok" if (status, body) == (200, RED) else f"{status} {body!r}"

    async def _renewal(self, number: int) -> str:
        path = f"/api/v1/images/private-{number}"
        _, renewed, _ = await self._ask("POST", f"{path}/url/refresh", headers=ALICE)
        _, body, _ = await self._ask("GET", json.loads(renewed)["data"]["url"])
        status, _, _ = await self._ask("GET", f"{path}/status", headers=ALICE)
        return "ok" if (status, body) == (200, RED) else f"{status} {body!r}"


class Pair:
    """The two replicas, and what must be true of them whatever their versions."""

    def __init__(self, replicas: list[Replica], images: Images, session: aiohttp.ClientSession) -> None:
        self.replicas = replicas
        self._images = images
        self._session = session

    async def check(self, stage: str) -> None:
        """Changes reach both of them: of a row, of an object that is purged, and of links that are killed."""
        await self._images.add(f"row-{stage}", RED)
        await self._all_answer(f"/i/row-{stage}", 200)
        await self._images.execute("UPDATE images SET is_public = false WHERE id = %s", f"row-{stage}")
        await self._all_answer(f"/i/row-{stage}", 404)

        for number, replica in enumerate(self.replicas):
            image_id = f"object-{stage}-{number}"
            await self._images.add(image_id, RED, owner="alice")
            await self._all_answer(f"/i/{image_id}", 200, RED)
            self._images.cos.store.put(BUCKET, f"objects/{image_id}.png", BLUE, content_type="image/png")
            await self._post(f"http://{replica.admin}/api/v1/cache/purge", {"image_ids": [image_id]}, AS_ADMIN)
            await self._all_answer(f"/i/{image_id}", 200, BLUE)

            await self._images.execute("UPDATE images SET is_public = false WHERE id = %s", image_id)
            made = await self._post(
                f"http://{replica.address}/api/v1/images/{image_id}/link", {"expires_in": 60}, ALICE
            )
            url = urlsplit(made["data"]["url"])
            await self._all_answer(f"{url.path}?{url.query}", 200)
            address = f"http://{replica.address}/api/v1/images/{image_id}/links"
            async with self._session.delete(address, headers=ALICE) as answer:
                assert answer.status == 200, await answer.text()
            await self._all_answer(f"{url.path}?{url.query}", 401)

            for page in ("console?since=0", "stats", "stats/daily?days=1", "queue", f"explain/{image_id}"):
                address = f"http://{replica.admin}/api/v1/monitoring/{page}"
                async with self._session.get(address, headers=AS_ADMIN) as answer:
                    assert answer.status == 200, (stage, page, await answer.text())

    async def _post(self, url: str, body: object, headers: Mapping[str, str]) -> Any:
        async with self._session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def _all_answer(self, path: str, status: int, body: bytes | None = None) -> None:
        async def do_they() -> bool:
            seen = []
            for replica in self.replicas:
                async with self._session.get(URL(f"http://{replica.address}{path}", encoded=True)) as answer:
                    seen.append((answer.status, await answer.read() if body is not None else None))
            return all(answer == (status, body) for answer in seen)

        await until(do_they, what=f"{status} of every replica for {path}")


def run_sql(table: ImagesTable, tree: Path) -> None:
    """Run the SQL that a release has operators run; lines that begin with a backslash are for psql."""
    for name in ("changes", "links"):
        text = (tree / "config" / "sql" / f"{name}.sql").read_text(encoding="utf-8")
        table.execute(re.sub(r"^(\\.*|BEGIN;|COMMIT;)$", "", text, flags=re.MULTILINE).replace("%", "%%"))


@asynccontextmanager
async def running_pair(config: Path, program: Sequence[str]) -> AsyncIterator[list[Replica]]:
    """Two replicas of a version with one configuration; the ports stay theirs."""
    with ExitStack() as ports:
        replicas = []
        for _ in range(2):
            public, admin = (ports.enter_context(reserved_port()) for _ in range(2))
            replicas.append(Replica("127.0.0.1", public, config, admin, program=program))
        try:
            await asyncio.gather(*(replica.start() for replica in replicas))
            yield replicas
        finally:
            for replica in replicas:
                await replica.close()


async def test_replicas_are_rolled_forward_and_back_on_the_same_servers_without_a_failed_request(
    previous: Release,
    raw_settings: RawSettings,
    images: Images,
    links_table: ImagesTable,
    redis_client: "redis.Redis",
    tmp_path: Path,
) -> None:
    """As the changelog says, nginx's files are those of this version. The SQL is run between the first two restarts."""
    for number in range(IMAGES):
        await images.add(f"public-{number}", RED)
        await images.add(f"private-{number}", RED, public=False, owner="alice")
    await asyncio.to_thread(run_sql, links_table, previous.tree)
    raw_settings["access"]["signed_links"] = {"keys": {"k1": "a-key-of-thirty-two-characters-or-more"}}
    config = tmp_path / "gateway.yaml"
    async with (
        answering() as edge,
        starting_nginx(tmp_path) as start_nginx,
        aiohttp.ClientSession() as session,
        AsyncExitStack() as stack,
    ):
        purge = {"target": "webhook", "url": edge.url, "base_urls": ["https://img.example.com"]}
        config.write_text(yaml.safe_dump(raw_settings | SHORT_LIVED | {"purge": purge}))
        replicas = await stack.enter_async_context(running_pair(config, previous.gateway))
        first, other = replicas
        nginx = await start_nginx(upstream_of(replicas) + (CONFIG / "gateway.conf").read_text())
        load, pair = Load(nginx), Pair(replicas, images, session)
        steps = ((first, GATEWAY), (other, GATEWAY), (first, previous.gateway), (other, previous.gateway))
        async with load.running():
            await until(lambda: len(load.outcomes) >= WAYS, what="answers to every client")
            for step, (replica, program) in enumerate(steps):
                replica.program = program
                await replica.restart()
                await pair.check(str(step))
                await load.more()
                if step == 0:
                    await asyncio.to_thread(run_sql, links_table, ROOT)
                    await both_read_the_queues(config, previous)
        changed = {f"row-{step}" for step in range(4)} | {f"object-{step}-{n}" for step in range(4) for n in (0, 1)}

        def purged() -> set[str]:
            return {image_id for _, body in edge.seen for image_id in json.loads(body)["image_ids"]}

        await until(lambda: purged() >= changed, what="a purge of each changed image")
        assert purged() == changed
        for replica in replicas:
            await replica.stop()
    assert all(outcome.endswith(": ok") for outcome in load.outcomes), load.outcomes
    assert not redis_client.exists("image:refresh:dead", "image:purge:dead")
    events = [json.loads(line) for replica in replicas for line in replica.lines]
    warnings = [event["event"] for event in events if event["level"] not in ("info", "debug")]
    assert [text for text in warnings if not text.startswith("nginx's files are not those of this release: ")] == []


async def both_read_the_queues(config: Path, previous: Release) -> None:
    """The command of each version takes what the other one has written."""
    for program in (GATEWAY, previous.gateway):
        for arguments in (("list",), ("--purges", "dead")):
            code, output = await run_gateway("queue", *arguments, "--config", str(config), program=program)
            assert code == 0, output
