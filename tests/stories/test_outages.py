"""Redis and Postgres killed, hung, full, read-only and full of garbage: images are still served without a wait."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis

from gateway.concurrency.clocks import boot_time
from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.redis_server import RedisServer
from tests.conftest import Answer, Images, RunningGateway, StartGateway, token_for
from tests.cos_emulator.pictures import gradient
from tests.limits import LIMIT
from tests.waiting import until

PATIENT = 20  # seconds of a time-out: a test in which one request waits for it fails


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres for only this test, with the table."""
    with PostgresServer(tmp_path / "postgres", extra_args=["-c", "max_connections=12"]) as server:
        ImagesTable(server.dsn).create()
        yield server


@pytest.fixture
def own_images(own_postgres: PostgresServer, cos: CosEmulator) -> Images:
    """The images in that Postgres."""
    return Images(ImagesTable(own_postgres.dsn), cos)


async def ready(gateway: RunningGateway, status: str, **checks: str) -> None:
    """Wait until ``/readyz`` says so; 503 only for ``not_ready``."""
    async with asyncio.timeout(LIMIT):
        while True:
            answer = await gateway.get("/readyz")
            body = answer.json()
            if body["status"] == status and checks.items() <= body["checks"].items():
                assert answer.status == (503 if status == "not_ready" else 200)
                return
            await asyncio.sleep(0.05)


async def told(caplog: pytest.LogCaptureFixture, beginnings: list[str], reason: str = "") -> None:
    """Wait until that, and nothing else, is what the log has of Redis."""
    async with asyncio.timeout(LIMIT):
        while len(said := [record.message for record in caplog.records if record.message.startswith("redis ")]) < len(
            beginnings
        ):
            await asyncio.sleep(0.05)
    assert [line.startswith(beginning) for line, beginning in zip(said, beginnings, strict=True)] == [True] * len(said)
    assert reason in said[-1]


async def timed(gateway: RunningGateway, *paths: str, status: int = 200) -> list[float]:
    """Ask one after another; each gets ``status``. How many seconds each took."""
    took = []
    for path in paths:
        began = time.monotonic()
        answer = await gateway.get(path)
        took.append(time.monotonic() - began)
        assert answer.status == status, answer.body
    return took


class TestRedisAway:
    """URLs are signed on the spot."""

    @pytest.mark.parametrize("kind", ["redis", "redis+cluster"])
    async def test_each_outage_is_told_once_with_its_reason(
        self, start_gateway: StartGateway, own_redis: RedisServer, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        caplog.set_level("INFO", "gateway.redis_connection")
        gateway = await start_gateway(redis={"url": f"{kind}://:not-the-password@127.0.0.1:{own_redis.port}"})
        await told(caplog, ["redis does not answer, going on without it: reason="], "invalid username-password pair")
        for _ in range(5):
            await gateway.resolver.resolve_many(["a"])
        await told(caplog, ["redis does not answer, going on without it: reason="])
        assert "not-the-password" not in caplog.text
        if kind == "redis":
            with redis.Redis.from_url(own_redis.url) as client:
                await asyncio.to_thread(client.config_set, "requirepass", "not-the-password")
            await told(caplog, ["redis does not answer, going on without it: reason=", "redis answers again"])

    async def test_hung(self, start_gateway: StartGateway, images: Images, own_redis: RedisServer) -> None:
        gateway = await start_gateway(redis={"url": own_redis.url, "timeout": 5})
        for number in range(20):
            await images.add(f"id-{number}")
        await timed(gateway, "/i/id-0")
        own_redis.pause()
        try:
            took = await timed(gateway, *(f"/i/id-{number}" for number in range(1, 20)))
            assert sum(seconds >= 5 for seconds in took) <= 1, "only the first waits for the time-out"
            await timed(gateway, "/api/v1/images/id-0/url")
            await ready(gateway, "degraded", redis="down")
        finally:
            own_redis.resume()
        await ready(gateway, "ready")
        await images.add("new")
        await timed(gateway, "/i/new")

    async def test_what_changed_meanwhile_is_not_served_as_it_was(
        self, start_gateway: StartGateway, images: Images, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        gateway = await start_gateway(redis={"url": own_redis.url, "timeout": 2}, url_cache={"local_ttl": 0})
        await images.add("cat", b"cat", owner="alice", public=True)

        async def is_found_in_redis() -> bool:
            assert (await gateway.get("/i/cat")).status == 200
            return gateway.sample("url_cache_lookups_total", tier="redis", result="hit") > 0

        await until(is_found_in_redis, seconds=60, what="an entry of which no change can have been missed")
        own_redis.pause()
        try:
            await ready(gateway, "degraded", redis="down")  # from here on, Redis is not asked at all
            await images.execute("UPDATE images SET is_public = false WHERE id = 'cat'")
            await until(lambda: "images not dropped from redis" in caplog.text, what="the change")
        finally:
            own_redis.resume()
        await ready(gateway, "ready", redis="ok")
        assert {(await gateway.get("/i/cat")).status for _ in range(5)} == {404}
        assert (await gateway.get("/i/cat", user="alice")).status == 200

    async def test_a_cluster_that_is_away(
        self, start_gateway: StartGateway, images: Images, caplog: pytest.LogCaptureFixture
    ) -> None:
        gateway = await start_gateway(redis={"url": "redis+cluster://127.0.0.1:1", "timeout": PATIENT})
        for number in range(10):
            await images.add(f"id-{number}")
        assert sum(await timed(gateway, *(f"/i/id-{number}" for number in range(10)))) < PATIENT, "nobody waits"
        await ready(gateway, "degraded", redis="down", postgres="ok")
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    async def test_taking_no_writes(self, start_gateway: StartGateway, images: Images, own_redis: RedisServer) -> None:
        """Its entries are still read, and no client gets an error."""
        # Not listening, since what was cached right after listening began is read again to be sure.
        gateway = await start_gateway(
            redis={"url": own_redis.url, "timeout": PATIENT}, url_cache={"local_ttl": 0}, postgres={"listen": False}
        )
        await images.add("cached")
        await timed(gateway, "/i/cached")
        with redis.Redis.from_url(own_redis.url) as client:
            await asyncio.to_thread(client.config_set, "min-replicas-to-write", "1")
            for number in range(10):
                await images.add(f"id-{number}")
            assert sum(await timed(gateway, *(f"/i/id-{number}" for number in range(10)))) < PATIENT, "nobody waits"
            await ready(gateway, "degraded", redis="degraded")
            hits = gateway.sample("url_cache_lookups_total", tier="redis", result="hit")
            await timed(gateway, "/i/cached", "/i/cached")
            assert gateway.sample("url_cache_lookups_total", tier="redis", result="hit") == hits + 2


class TestPostgresAway:
    """What is cached is served."""

    async def test_killed(self, start_gateway: StartGateway, own_images: Images, own_postgres: PostgresServer) -> None:
        gateway = await start_gateway(
            postgres={"dsn": own_postgres.dsn, "timeout": PATIENT}, url_cache={"local_ttl": 0.1}
        )
        await own_images.add("a", owner="alice", public=False)
        await own_images.add("b")
        assert (await gateway.get("/i/a", user="alice")).status == 200
        await asyncio.to_thread(own_postgres.kill)
        began = time.monotonic()
        while time.monotonic() - began < 0.3:  # beyond local_ttl
            assert (await gateway.get("/i/a", user="alice")).status == 200
            assert (await gateway.get("/i/a", user="bob")).status == 404
        [took] = await timed(gateway, "/i/b", status=503)
        assert took < PATIENT
        refused = await gateway.get("/i/b")
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("catalog_unavailable", "2")
        await ready(gateway, "degraded", postgres="down", redis="ok")
        await asyncio.to_thread(own_postgres.start)
        await ready(gateway, "ready")
        await timed(gateway, "/i/b")

    @pytest.mark.parametrize("delivery", ["stream", "accel"])
    async def test_whatever_is_sent_by_a_row_that_cannot_be_read_is_kept_by_nobody(
        self, start_gateway: StartGateway, own_images: Images, own_postgres: PostgresServer, delivery: str
    ) -> None:
        gateway = await start_gateway(
            postgres={"dsn": own_postgres.dsn},
            image_proxy={"delivery": delivery, "shared_max_age": 600},
            image_styles={"card": {"widths": [20], "formats": ["webp"]}},
        )
        for image_id, public in (("open", True), ("mine", False)):
            await own_images.add(image_id, gradient(40, 30), owner="alice", public=public)
        tag = (await gateway.request("HEAD", "/i/open")).headers["ETag"]
        requests: list[tuple[str, str, dict[str, str], int]] = [
            ("GET", "", {}, 200),
            ("HEAD", "", {}, 200),
            ("GET", "", {"If-None-Match": tag}, 304),
            ("GET", "", {"Range": "bytes=0-9"}, 200 if delivery == "accel" else 206),
            ("GET", "?v={version}", {}, 200),
            ("GET", "?v=another", {}, 302),
            ("GET", "?style=card&w=20&format=webp", {}, 200),
            ("GET", "?redirect=1", {}, 302),
            ("GET", "?download=a.png", {}, 200),
        ]

        async def seen(image_id: str, user: str | None) -> list[Answer]:
            fields = {"Authorization": f"Bearer {token_for(user)}"} if user else {}
            version = (await gateway.get(f"/api/v1/images/{image_id}/url", user=user)).json()["data"]["version"]
            found = []
            for method, query, conditions, status in requests:
                path = f"/i/{image_id}{query.format(version=version)}"
                found.append(await gateway.request(method, path, headers=fields | conditions))
                assert found[-1].status == status, (query, found[-1])
            return found

        for image_id, user in (("open", None), ("mine", "alice")):
            for answer in await seen(image_id, user):
                assert "X-Accel-Expires" not in answer.headers
                assert "unread" not in answer.headers.get("Cache-Status", "")
        assert "X-Decision-For" in (await gateway.get("/api/v1/images/mine/access", user="alice")).headers
        await asyncio.to_thread(own_postgres.kill)
        await until(lambda: not gateway.changes.hears(boot_time()), what="the end of the connection")
        for image_id, user, kept in (("open", None, "public, max-age=5"), ("mine", "alice", "private, no-store")):
            for answer in await seen(image_id, user):
                renamed = "X-Image-Cache-Control" in answer.headers
                assert answer.headers["X-Image-Cache-Control" if renamed else "Cache-Control"] == kept
                assert answer.headers["X-Accel-Expires"] == "0"
                assert answer.headers["Cache-Status"].endswith("; detail=unread")
                assert "X-Decision-For" not in answer.headers
        checked = await gateway.get("/api/v1/images/mine/access", user="alice")
        assert (checked.status, "X-Decision-For" in checked.headers) == (200, False)
        await asyncio.to_thread(own_postgres.start)

        async def is_read() -> bool:
            return "X-Accel-Expires" not in (await gateway.get("/i/open")).headers

        await until(is_read, what="an answer by a row that was read")

    @pytest.mark.parametrize("before", ["/api/v1/images/a/url", "/i/a"], ids=["unknown bytes", "old bytes in memory"])
    async def test_an_image_is_unread_whose_url_was_renewed_without_its_row(
        self, start_gateway: StartGateway, own_images: Images, own_postgres: PostgresServer, before: str
    ) -> None:
        postgres = {"dsn": own_postgres.dsn, "listen": False}
        gateway = await start_gateway(postgres=postgres, image_proxy={"memory_cache": {"ttl": 0}})
        await own_images.add("a")
        await gateway.get(before)
        await asyncio.to_thread(own_postgres.kill)
        own_images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied")))
        answer = await gateway.get("/i/a")
        assert answer.headers["Cache-Control"] == "public, max-age=5"
        assert answer.headers["Cache-Status"].endswith("; detail=unread")

    async def test_out_of_connections(
        self, start_gateway: StartGateway, own_images: Images, own_postgres: PostgresServer
    ) -> None:
        gateway = await start_gateway(postgres={"dsn": own_postgres.dsn, "timeout": PATIENT})
        await own_images.add("a")
        await own_images.add("b")
        await timed(gateway, "/i/a")
        others = []

        def take_all() -> None:
            try:
                while True:
                    others.append(psycopg2.connect(own_postgres.dsn))
            except psycopg2.OperationalError:
                return

        await asyncio.to_thread(take_all)
        try:
            await timed(gateway, "/i/a", "/i/b")  # by the connection that the gateway has kept
        finally:
            for connection in others:
                connection.close()
        await ready(gateway, "ready")
        await timed(gateway, "/i/b")
