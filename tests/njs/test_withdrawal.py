"""Two nginxes with njs in front of two gateways: what the row says takes effect in both within half a second."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.changes.nginx_list import LISTED_AGAIN_FOR
from gateway.concurrency.clocks import boot_time
from gateway_dev.database import ImageRow, ImagesTable
from tests.access.credentials import ACCESS, OLD_LINK_KEY, bearer, link_query, token
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx
from tests.nginx.test_accel import SMALL
from tests.njs.conftest import SOON, StartNjs, site, until_soon
from tests.njs.test_changes import is_hit
from tests.valve import Valve
from tests.waiting import until, until_listening_to_changes


@pytest.fixture
async def gateways(start_gateway: StartGateway) -> list[RunningGateway]:
    """Two gateways that hear of changes."""
    started = [await start_gateway() for _ in range(2)]
    for gateway in started:
        await until_listening_to_changes(gateway.ports.admin)
    return started


@pytest.fixture
async def nginxes(start_njs: StartNjs, gateways: list[RunningGateway]) -> list[Nginx]:
    """Two nginxes with ``gateway-cache.conf``."""
    return [await start_njs(in_front(gateways)) for _ in range(2)]


def in_front(gateways: list[RunningGateway], file: str = "gateway-cache.conf") -> str:
    """Return a file of ``config/nginx`` in front of these gateways."""
    public, admin = (
        [address.removeprefix("http://") for address in addresses]
        for addresses in (
            [gateway.ports.public for gateway in gateways],
            [gateway.ports.admin for gateway in gateways],
        )
    )
    return site(file, public, admin)


async def until_cached(nginxes: list[Nginx], path: str) -> None:
    """Return when each nginx answers from its cache."""

    async def are_hits() -> bool:
        return all([is_hit(await nginx.get(path)) for nginx in nginxes])

    await until(are_hits, what=f"copies of {path}")


@asynccontextmanager
async def heard(gateways: list[RunningGateway], image_id: str) -> AsyncIterator[None]:
    """Return when each gateway has heard of the change in the block: what nginx takes is counted from then."""
    since = boot_time()
    yield
    await until(
        lambda: all(gateway.changes.has_heard(image_id, since) for gateway in gateways), what="the notification"
    )


async def everywhere(nginxes: list[Nginx], path: str, status: int, body: bytes | None = None) -> None:
    """Return when each nginx answers so, which must be soon."""

    async def is_so() -> bool:
        answers = [await nginx.get(path) for nginx in nginxes]
        return all(answer.status == status and (body is None or answer.body == body) for answer in answers)

    await until_soon(is_so, what=f"{status} for {path}")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET is_public = false WHERE id = 'a'",
        "UPDATE images SET storage_status = 'deleted' WHERE id = 'a'",
        "DELETE FROM images WHERE id = 'a'",
    ],
)
async def test_a_row_that_nobody_may_see_any_more_is_gone_from_every_nginx(
    nginxes: list[Nginx], gateways: list[RunningGateway], images: Images, change: str
) -> None:
    await images.add("a", b"old", owner="alice")
    await images.add("b", b"other")
    for path in ("/i/a", "/i/a?download=x", "/api/v1/images/a/proxy", "/i/b"):
        await until_cached(nginxes, path)
    async with heard(gateways, "a"):
        await images.execute(change)
    for path in ("/i/a", "/i/a?download=x", "/api/v1/images/a/proxy"):
        await everywhere(nginxes, path, 404)
    await until_cached(nginxes, "/i/b")


class Versions:
    """Images whose rows change, and what nginxes answered in the meantime."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.committed: dict[str, list[float]] = defaultdict(list)
        self.worst = 0.0
        self.is_measured = True
        self.hits = 0
        self.answers = 0

    async def change(self, image_id: str) -> None:
        """Let the row name a new object."""
        version = len(self.committed[image_id])
        key = f"objects/{image_id}-{version}"
        self.images.cos.store.put(BUCKET, key, f"{image_id} {version}".encode(), content_type="image/png")
        if version == 0:
            await self.images.add_row(ImageRow(image_id, None, key, content_type="image/png", public=True))
        else:
            await self.images.execute("UPDATE images SET cos_key = %s WHERE id = %s", key, image_id)
        self.committed[image_id].append(time.monotonic())

    async def read(self, nginx: Nginx, image_id: str) -> None:
        """Request the image, and note for how long its content had been old when the request began."""
        begun = time.monotonic()
        with suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            answer = await nginx.get(f"/i/{image_id}")
            if answer.status != 200:
                assert answer.status in (502, 503, 504), answer
                return
            name, _, version = answer.body.decode().partition(" ")
            assert name == image_id
            self.answers += 1
            self.hits += is_hit(answer)
            if self.is_measured and int(version) + 1 < len(self.committed[image_id]):
                self.worst = max(self.worst, begun - self.committed[image_id][int(version) + 1])


@pytest.mark.parametrize("file", ["gateway-cache.conf", "accel.conf", "private-cache.conf"])
async def test_a_withdrawn_image_is_in_no_nginx_after_the_end_of_a_gateway_that_could_not_read_rows(
    start_gateway: StartGateway, start_njs: StartNjs, images: Images, postgres_dsn: str, file: str
) -> None:
    """It sends the image as cached, also after the last naming of the change, and ends without a word."""
    delivery = {"image_proxy": {"delivery": "accel" if file == "accel.conf" else "stream"}}
    await images.add("a", b"withdrawn")
    async with Valve.before(int(parse_dsn(postgres_dsn)["port"])) as valve:
        alone = {"dsn": make_dsn(postgres_dsn, host="127.0.0.1", port=valve.port), "timeout": 0.5}
        cut_off = await start_gateway(**delivery, postgres=alone)
        gateways = [*[await start_gateway(**delivery) for _ in range(2)], cut_off]
        for gateway in gateways:
            await until_listening_to_changes(gateway.ports.admin)
        cos = f"upstream cos {{ server 127.0.0.1:{images.cos.port}; }}\n" if file == "accel.conf" else ""
        nginx = await start_njs(cos + in_front(gateways, file))
        await until_cached([nginx], "/i/a")
        assert (await cut_off.get("/i/a")).status == 200
        valve.close()
        await images.execute("UPDATE images SET storage_status = 'blocked' WHERE id = 'a'")
        log = gateways[0].changes
        await until(lambda: log.change_of("a"), what="the change")
        heard_at = log.changed_at("a")
        await until(lambda: boot_time() > heard_at + LISTED_AGAIN_FOR / 1000 + SOON, what="the last naming")

        def sent() -> float:
            labels = {"route": "short", "delivery": delivery["image_proxy"]["delivery"], "status": "200"}
            return cut_off.sample("requests_total", **labels)

        before = sent()
        answers = [await nginx.get("/i/a") for _ in range(30)]
        assert {answer.status for answer in answers} == {200, 404}
        assert sum(answer.status == 200 for answer in answers) <= sent() - before, "nginx sends none of its own"
        assert not any("X-Accel-Expires" in answer.headers for answer in answers)
        await cut_off.close()
        assert {(await nginx.get("/i/a")).status for _ in range(10)} == {404}


ENDING_IN = 10  # seconds


@dataclass(frozen=True)
class Right:
    """A request of Alice for a private image of hers, and the status of the answer after the right has ended."""

    image_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    status: int = 401

    @property
    def path(self) -> str:
        """The address."""
        return f"/i/{self.image_id}{self.query and '?'}{self.query}"


def by_token(image_id: str, status: int = 401, **claims: Any) -> Right:
    """Return a right by a token."""
    return Right(image_id, bearer(token(**claims)), status=status)


def by_link(image_id: str, **options: Any) -> Right:
    """Return a right by a signed link."""
    return Right(image_id, query=link_query(f"/i/{image_id}", **options))


@dataclass(frozen=True)
class Rights:
    """What ends the rights of Alice."""

    images: Images
    gateways: list[RunningGateway]

    async def execute(self, right: Right, sql: str) -> None:
        """Change a row."""
        async with heard(self.gateways, right.image_id):
            await self.images.execute(sql, right.image_id)

    async def kill_links(self, right: Right) -> None:
        """Let Alice kill the links, by one of the gateways."""
        path = f"/api/v1/images/{right.image_id}/links"
        async with heard(self.gateways, right.image_id):
            assert (await self.gateways[0].request("DELETE", path, headers=bearer(token()))).status == 200

    async def reload(self, **access: Any) -> None:
        """Change the settings of each gateway."""
        for gateway in self.gateways:
            assert (await gateway.reload(access=access)).changed


def questions(gateways: list[RunningGateway]) -> float:
    """Return how often nginxes have asked for a decision."""
    results = ("allowed", "unauthorized", "forbidden", "unavailable")
    return sum(gateway.sample("access_checks_total", result=result) for gateway in gateways for result in results)


async def kept_everywhere(nginxes: list[Nginx], gateways: list[RunningGateway], right: Right) -> None:
    """Return when each nginx answers from its cache, without a question."""

    async def are_kept() -> bool:
        before = questions(gateways)
        answers = [await nginx.get(right.path, **right.headers) for nginx in nginxes]
        assert {answer.status for answer in answers} == {200}, right
        # With accel, an answer of the gateway has its Cache-Status, too; with auth_request, the check is counted.
        lines = [value for answer in answers for name, value in answer.headers.items() if name == "Cache-Status"]
        return lines[-1] == "nginx; hit" and all(map(is_hit, answers)) and questions(gateways) == before

    await until(are_kept, what=f"kept decisions about {right.path}")


@pytest.mark.parametrize("file", ["private-cache.conf", "accel.conf"])
async def test_a_right_that_ends_is_refused_by_every_nginx(
    start_gateway: StartGateway, start_njs: StartNjs, images: Images, links_table: ImagesTable, file: str
) -> None:
    del links_table
    gateways = [
        await start_gateway(
            access={**ACCESS, "forwarded_user": None},
            image_proxy={"delivery": "accel" if file == "accel.conf" else "stream"},
            url_cache={"local_ttl": 3600},
        )
        for _ in range(2)
    ]
    for gateway in gateways:
        await until_listening_to_changes(gateway.ports.admin)
    cos = f"upstream cos {{ server 127.0.0.1:{images.cos.port}; }}\n" if file == "accel.conf" else ""
    nginxes = [await start_njs(cos + in_front(gateways, file)) for _ in range(2)]
    ends = Rights(images, gateways)

    async def refused_after(right: Right, end: Awaitable[None]) -> None:
        await end

        async def is_refused() -> bool:
            answers = [await nginx.get(right.path, **right.headers) for nginx in nginxes]
            return all(answer.status == right.status for answer in answers)

        await until_soon(is_refused, what=f"the refusal of {right.path}")

    given_away, deleted, removed = (by_token(name, 404) for name in ("given-away", "deleted", "removed"))
    called, counted, unsigned = (by_link(name) for name in ("called", "counted", "unsigned"))
    secret, cookie = by_token("secret"), Right("cookie", {"Cookie": f"session={token()}"})
    for right in (given_away, deleted, removed, called, counted, unsigned, secret, cookie):
        await images.add(right.image_id, SMALL, owner="alice", public=False)
        await kept_everywhere(nginxes, gateways, right)

    await refused_after(given_away, ends.execute(given_away, "UPDATE images SET user_id = 'bob' WHERE id = %s"))
    await refused_after(deleted, ends.execute(deleted, "UPDATE images SET storage_status = 'deleted' WHERE id = %s"))
    await refused_after(removed, ends.execute(removed, "DELETE FROM images WHERE id = %s"))
    await refused_after(called, ends.kill_links(called))
    await refused_after(counted, ends.execute(counted, "INSERT INTO image_gateway_links VALUES (%s, 1)"))
    await refused_after(unsigned, ends.reload(signed_links={"keys": {"old": OLD_LINK_KEY}}))
    await kept_everywhere(nginxes, gateways, cookie)
    await refused_after(secret, ends.reload(jwt={**ACCESS["jwt"], "secret": "another-secret-of-thirty-two-bytes"}))
    await refused_after(cookie, asyncio.sleep(0))


async def test_no_decision_is_kept_beyond_the_end_of_the_token_or_link(
    start_gateway: StartGateway, start_njs: StartNjs, images: Images, links_table: ImagesTable
) -> None:
    """The gateway accepts a token for some time longer than its end, for the sake of clocks."""
    del links_table
    gateway = await start_gateway(access={**ACCESS, "forwarded_user": None})
    nginx = await start_njs(in_front([gateway], "private-cache.conf"))
    ends_at = int(time.time()) + ENDING_IN
    by_time = by_token("token", exp=ends_at), by_link("link", exp=ends_at)
    for right in by_time:
        await images.add(right.image_id, SMALL, owner="alice", public=False)
        await kept_everywhere([nginx], [gateway], right)
    await until(lambda: time.time() > ends_at)
    for right in by_time:
        before = questions([gateway])
        await nginx.get(right.path, **right.headers)
        assert questions([gateway]) == before + 1
