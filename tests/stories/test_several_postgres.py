"""Rows are read from a standby or through a pooler, and changes are heard from the primary; a primary dies."""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis
from psycopg2.extensions import make_dsn

from gateway.concurrency.clocks import boot_time
from gateway.presign.style_variants import ImageVariant
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.processes import HOST, Child, wait_until
from tests.access.credentials import ACCESS, bearer, token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.pgbouncer import running_pgbouncer
from tests.waiting import until, until_answered

AT_ONCE = 10.0  # seconds: without a notification, the row would be read again only after ``local_ttl``
StartListening = Callable[..., Awaitable[RunningGateway]]


def ask(dsn: str, sql: str) -> Any:
    """Return the one value that Postgres answers."""
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
    assert row is not None
    return row[0]


async def asked_last(server: PostgresServer) -> str | None:
    """Return when the server was last asked for rows, if a connection of a gateway has done nothing else since."""
    is_of_rows = "application_name = 'image-gateway' AND query LIKE '%ANY(%'"
    sql = f"SELECT max(query_start)::text FROM pg_stat_activity WHERE {is_of_rows}"  # noqa: S608 - see above
    found: str | None = await asyncio.to_thread(ask, server.dsn, sql)
    return found


async def is_reason(gateway: RunningGateway, dependency: str, reason: str) -> bool:
    """Whether /readyz gives the reason why a dependency is not ``ok``."""
    return reason in (await gateway.get("/readyz", admin=True)).json()["reasons"].get(dependency, "")


@dataclass(frozen=True)
class Pair:
    """A primary with the table of images, and a standby that follows it."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def table(self) -> ImagesTable:
        """The table, to be written at the primary."""
        return ImagesTable(self.primary.dsn)

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """The standby replays nothing meanwhile."""
        ask(self.standby.dsn, "SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state()"
        assert wait_until(lambda: ask(self.standby.dsn, paused) == "paused", LIMIT)
        try:
            yield
        finally:
            ask(self.standby.dsn, "SELECT pg_wal_replay_resume()")

    def has_followed(self) -> bool:
        """Whether the standby has every change."""
        position = ask(self.primary.dsn, "SELECT pg_current_wal_insert_lsn()::text")
        return bool(ask(self.standby.dsn, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))


class Standby(PostgresServer):
    """A copy of a primary that follows it, or another copy of it."""

    def __init__(self, data_dir: Path, primary: PostgresServer, *, follows: PostgresServer | None = None) -> None:
        followed = () if follows is None else ("-c", f"primary_conninfo={follows.dsn}")
        super().__init__(data_dir, ephemeral=True, extra_args=followed)
        self.primary = primary

    def _make_cluster(self) -> None:
        home = self.primary.data.resolve().parent / f"standby-{self.data_dir.name}"
        home.mkdir(mode=0o755)
        if self.account is not None:
            os.chown(home, self.account.uid, self.account.gid)
        log = self.data_dir / "basebackup.log"
        command = [str(self._programs / "pg_basebackup"), "-D", str(home / "cluster"), "-d", self.primary.dsn]
        copying = Child([*command, "-R", "-c", "fast", "--no-sync"], log=log, account=self.account)
        assert copying.wait(LIMIT), log.read_text()
        assert copying.exit_code == 0, log.read_text()
        shutil.copy2(self.primary.data.resolve().parent / "password", home / "password")
        self.data.symlink_to(home / "cluster")


@contextmanager
def running_pair(folder: Path) -> Iterator[Pair]:
    """Run a primary with the table of images, and its standby."""
    with ExitStack() as stack:
        primary = stack.enter_context(PostgresServer(folder / "primary", ephemeral=True))
        ImagesTable(primary.dsn).create()
        yield Pair(primary, stack.enter_context(Standby(folder / "standby", primary)))


@pytest.fixture(scope="module")
def pair(server_folder: Path) -> Iterator[Pair]:
    """Two servers for the tests of this module."""
    with running_pair(server_folder / "pair") as servers:
        yield servers


@pytest.fixture
def mortal_pair(server_folder: Path) -> Iterator[Pair]:
    """Two servers for a single test, which kills the primary."""
    with running_pair(server_folder / "mortal-pair") as servers:
        yield servers


@pytest.fixture(scope="module")
def pgbouncer(pair: Pair, server_folder: Path) -> Iterator[str]:
    """A DSN of the primary through a pooler."""
    with running_pgbouncer(pair.primary.dsn, server_folder / "pgbouncer") as pooler:
        yield pooler.dsn


@pytest.fixture
async def images(pair: Pair, cos: CosEmulator) -> Images:
    """The public image ``cat``, which the standby has too. Its row is written at the primary."""
    made = Images(pair.table, cos)
    await made.execute("DELETE FROM images")
    await made.add("cat", owner="alice")
    await until(lambda: asyncio.to_thread(pair.has_followed), what="the row at the standby")
    return made


@pytest.fixture
async def start_listening(start_gateway: StartGateway, images: Images, pair: Pair) -> StartListening:
    """Starts a gateway that reads at a DSN and listens to the primary. Returns it when it listens."""
    del images  # but the image is there

    async def start(dsn: str, **sections: Any) -> RunningGateway:
        gateway = await start_gateway(postgres={"dsn": dsn, "listen_dsn": pair.primary.dsn}, **sections)
        await until(lambda: gateway.sample("change_feed_connected") == gateway.sample("change_trigger_installed") == 1)
        return gateway

    return start


async def test_a_change_that_the_standby_does_not_have_yet_is_read_from_the_primary(
    start_listening: StartListening, images: Images, pair: Pair
) -> None:
    gateway = await start_listening(pair.standby.dsn)
    await until(lambda: asyncio.to_thread(pair.has_followed))  # what may have changed before the start
    assert (await gateway.get("/i/cat")).status == 200
    assert await asked_last(pair.primary) is None
    with pair.held_back():
        await images.execute("UPDATE images SET is_public = false")
        async with asyncio.timeout(AT_ONCE):
            await until_answered(gateway, "/i/cat", 404)
        gateway.forget("cat")  # the row is read again
        assert (await gateway.get("/i/cat")).status == 404


async def test_a_change_that_is_heard_while_a_request_waits_for_a_connection_counts_for_the_request(
    start_listening: StartListening, images: Images, pair: Pair
) -> None:
    gateway = await start_listening(pair.standby.dsn)
    pool, since = gateway.service.stores.catalog.pool, boot_time()
    with pair.held_back():
        async with AsyncExitStack() as stack:
            for _ in range(pool.size):
                await stack.enter_async_context(pool.cursor())
            asking = asyncio.create_task(gateway.get("/api/v1/images/cat/url"))
            await until(pool.waits)
            await images.execute("UPDATE images SET is_public = false")
            await until(lambda: gateway.changes.has_heard("cat", since))
        assert (await asking).status == 404


async def test_a_standby_that_has_followed_is_asked_again(
    start_listening: StartListening, images: Images, pair: Pair
) -> None:
    with pair.held_back():
        await images.execute("UPDATE images SET is_public = false")
        gateway = await start_listening(pair.standby.dsn)
        # What changed while nobody listened is not known either.
        assert (await gateway.get("/i/cat")).status == 404
    assert await asked_last(pair.standby) is None
    await until(lambda: asyncio.to_thread(pair.has_followed))
    gateway.forget("cat")
    assert (await gateway.get("/i/cat")).status == 404
    assert await asked_last(pair.standby) is not None


async def test_after_a_gap_of_the_trigger_no_row_is_read_from_a_standby_that_may_not_have_its_changes(
    start_listening: StartListening, images: Images, pair: Pair
) -> None:
    gateway = await start_listening(pair.standby.dsn)
    await until(lambda: gateway.sample("change_trigger_installed") == 1)
    assert (await gateway.get("/i/cat")).status == 200
    with pair.held_back():
        await images.execute("ALTER TABLE images DISABLE TRIGGER USER")
        await images.execute("UPDATE images SET is_public = false")
        await images.execute("ALTER TABLE images ENABLE TRIGGER USER")
        gateway.service.diagnostics.trigger_watch.look_soon()
        await until_answered(gateway, "/i/cat", 404)
        gateway.forget("cat")
        assert (await gateway.get("/i/cat")).status == 404


async def test_after_a_row_of_the_primary_no_earlier_one_of_the_standby_is_served(
    start_listening: StartListening, images: Images, pair: Pair
) -> None:
    """The later change is not notified, as to a gateway that is deaf within its lease."""
    await images.execute("UPDATE images SET is_public = false; CREATE TABLE boundary ()")
    await until(lambda: asyncio.to_thread(pair.has_followed))
    gateway = await start_listening(pair.standby.dsn)
    assert (await gateway.get("/i/cat")).status == 404
    with closing(psycopg2.connect(pair.standby.dsn)) as reader, reader.cursor() as cursor:
        with pair.held_back():
            await images.execute("UPDATE images SET is_public = true")
            await until_answered(gateway, "/i/cat", 200)
            between = ask(pair.primary.dsn, "SELECT pg_current_wal_insert_lsn()::text")
            cursor.execute("SELECT FROM boundary")  # the standby cannot replay the end of the table meanwhile
            await images.execute("DROP TABLE boundary")
            await images.execute("SET session_replication_role = replica; UPDATE images SET is_public = false")
            gateway.forget("cat")
            assert (await gateway.get("/i/cat")).status == 404
        has_replayed = f"SELECT pg_last_wal_replay_lsn() >= '{between}'"
        await until(lambda: asyncio.to_thread(ask, pair.standby.dsn, has_replayed))
        gateway.forget("cat")
        assert (await gateway.get("/i/cat")).status == 404
    await until(lambda: asyncio.to_thread(pair.has_followed))


async def test_links_are_killed_at_the_primary(start_listening: StartListening, images: Images, pair: Pair) -> None:
    await asyncio.to_thread(pair.table.create_links)
    await images.add("mine", owner="alice", public=False)
    await until(lambda: asyncio.to_thread(pair.has_followed))
    gateway = await start_listening(pair.standby.dsn, access=ACCESS)
    alice = bearer(token(exp=int(time.time()) + 3600))
    made = await gateway.request("POST", "/api/v1/images/mine/link", headers=alice, json={"expires_in": 60})
    link = made.json()["data"]["url"]
    assert (await gateway.get(link)).status == 200
    with pair.held_back():
        killed = await gateway.request("DELETE", "/api/v1/images/mine/links", headers=alice)
        assert killed.status == 200
        assert (await gateway.get(link)).status == 401


async def test_a_pooler_in_transaction_mode_needs_only_another_dsn_for_listening(
    start_listening: StartListening, images: Images, pgbouncer: str
) -> None:
    gateway = await start_listening(pgbouncer)
    assert (await gateway.get("/i/cat")).status == 200
    await images.execute("UPDATE images SET is_public = false")
    async with asyncio.timeout(AT_ONCE):
        await until_answered(gateway, "/i/cat", 404)
    # The pooler has one connection: its next client gets what the gateway has SET.
    assert await asyncio.to_thread(ask, pgbouncer, "SHOW statement_timeout") == "0"


async def test_a_pooler_that_passes_no_notifications_on_is_named_and_each_request_reads_its_row(
    start_gateway: StartGateway, images: Images, pgbouncer: str
) -> None:
    """The gateway's own notification would come back on the connection that sends it, within its transaction."""
    gateway = await start_gateway(postgres={"dsn": pgbouncer})
    for is_public in (True, False) * 3:
        await images.execute("UPDATE images SET is_public = %s", is_public)
        assert (await gateway.get("/i/cat")).status == (200 if is_public else 404)
    await until(lambda: is_reason(gateway, "changes", "nobody passes notifications on"))
    assert gateway.sample("change_feed_connected") == 0


async def test_without_the_primary_a_gateway_that_must_read_rows_is_not_ready_and_counts_no_renewal_as_failed(
    start_gateway: StartGateway, cos: CosEmulator, mortal_pair: Pair, redis_client: redis.Redis
) -> None:
    """The standby answers, but nobody knows whether it has every change."""
    await Images(mortal_pair.table, cos).add("cat")
    await until(lambda: asyncio.to_thread(mortal_pair.has_followed))
    postgres = {"dsn": mortal_pair.standby.dsn, "listen_dsn": mortal_pair.primary.dsn, "timeout": 5}
    gateway = await start_gateway(postgres=postgres, server={"ready_without_rows": False})
    assert (await gateway.get("/i/cat")).status == 200
    await gateway.flush_uses()
    await until_answered(gateway, "/readyz", 200)
    mortal_pair.primary.pause()
    await until_answered(gateway, "/readyz", 503)
    await until(lambda: is_reason(gateway, "postgres", "no answer of postgres.listen_dsn within 1.5 s"))
    redis_client.delete("image:url:cat")
    await gateway.redis.queue.schedule({ImageVariant("cat"): 1.0})
    results = {result: partial(gateway.sample, "refresh_total", result=result) for result in ("failed", "postponed")}
    await until(lambda: any(count() for count in results.values()))
    assert results["failed"]() == 0


async def test_a_gateway_finds_the_next_primary_and_reads_again_what_it_missed(
    start_gateway: StartGateway, cos: CosEmulator, mortal_pair: Pair
) -> None:
    images = Images(mortal_pair.table, cos)
    for image_id in "cat", "dog":
        await images.add(image_id)
    await until(lambda: asyncio.to_thread(mortal_pair.has_followed))
    primary, other = mortal_pair.primary, mortal_pair.standby
    both = make_dsn(
        primary.dsn, host=f"{HOST},{HOST}", port=f"{primary.port},{other.port}", target_session_attrs="read-write"
    )
    gateway = await start_gateway(postgres={"dsn": both, "timeout": 10})
    await until(lambda: gateway.sample("change_feed_connected") == 1)
    assert (await gateway.get("/i/cat")).status == 200
    await asyncio.to_thread(primary.kill)
    await until(lambda: gateway.sample("change_feed_connected") == 0)
    assert (await gateway.get("/i/cat")).status == 200
    assert (await gateway.get("/i/dog")).status == 503
    await asyncio.to_thread(ask, other.dsn, "SELECT pg_promote()")
    await asyncio.to_thread(ImagesTable(other.dsn).execute, "UPDATE images SET is_public = false WHERE id = 'cat'")
    await until(lambda: gateway.sample("change_feed_connected") == 1)
    await until_answered(gateway, "/i/cat", 404)
    assert (await gateway.get("/i/dog")).status == 200


async def test_no_row_is_read_from_a_standby_that_is_ahead_of_the_next_primary_and_cannot_follow_it(
    start_gateway: StartGateway, cos: CosEmulator, mortal_pair: Pair, server_folder: Path
) -> None:
    await Images(mortal_pair.table, cos).add("cat")
    with Standby(server_folder / "behind", mortal_pair.primary) as successor:
        await asyncio.to_thread(successor.stop)
        await asyncio.to_thread(
            ask, mortal_pair.primary.dsn, "SELECT pg_logical_emit_message(false, '', repeat('x', 1000000))::text"
        )
        await until(lambda: asyncio.to_thread(mortal_pair.has_followed))
        await asyncio.to_thread(mortal_pair.primary.kill)
        await asyncio.to_thread(successor.start)
        await asyncio.to_thread(ask, successor.dsn, "SELECT pg_promote()")
        gateway = await start_gateway(postgres={"dsn": mortal_pair.standby.dsn, "listen_dsn": successor.dsn})
        await until(lambda: gateway.sample("change_feed_connected") == 1)
        assert (await gateway.get("/i/cat")).status == 200
        await asyncio.to_thread(ImagesTable(successor.dsn).execute, "UPDATE images SET is_public = false")
        await until_answered(gateway, "/i/cat", 404)
        await gateway.close()


async def test_a_standby_that_follows_the_next_primary_is_asked_after_its_next_checkpoint(
    start_gateway: StartGateway, cos: CosEmulator, mortal_pair: Pair, server_folder: Path
) -> None:
    await Images(mortal_pair.table, cos).add("cat")
    await until(lambda: asyncio.to_thread(mortal_pair.has_followed))
    with Standby(server_folder / "follower", mortal_pair.primary, follows=mortal_pair.standby) as follower:
        await asyncio.to_thread(mortal_pair.primary.kill)
        pair = Pair(mortal_pair.standby, follower)
        await asyncio.to_thread(ask, pair.primary.dsn, "SELECT pg_promote()")
        gateway = await start_gateway(postgres={"dsn": follower.dsn, "listen_dsn": pair.primary.dsn})
        for server in pair.primary, follower:
            await until(lambda: asyncio.to_thread(pair.has_followed))
            await asyncio.to_thread(ImagesTable(server.dsn).execute, "CHECKPOINT")

        async def is_asked() -> bool:
            gateway.forget("cat")
            assert (await gateway.get("/i/cat")).status == 200
            return await asked_last(follower) is not None

        await until(is_asked)
        await gateway.close()
