"""The change feed during outages and errors, and the notifications that wait for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiopg
import psycopg2
import pytest
from psycopg2.extensions import Notify, make_dsn

from gateway.catalog.change_feed import CHANNEL, TEST_PREFIX, ChangeFeed, Notifications
from gateway.catalog.replay_positions import ReplayPositions
from gateway.catalog.server_addresses import ServerAddresses
from gateway.changes.change_log import Source
from gateway.concurrency.background import background
from gateway.service.metrics import Metrics
from gateway_dev.database import ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.heard_changes import Recorder
from tests.limits import LIMIT
from tests.waiting import until


class Changes(Recorder):
    """Records what a feed tells. The first change raises an error if ``fails``. Each waits until ``is_free``."""

    def __init__(self, *, fails: bool = False, every: float = 2.0, lease: float = 6.0) -> None:
        super().__init__(every=every, lease=lease)
        self.fails = fails
        self.image_ids: list[str] = []
        self.is_free = asyncio.Event()
        self.is_free.set()

    async def rows_changed(self, image_ids: Sequence[str]) -> None:
        """Record the ids, or raise."""
        await self.is_free.wait()
        if self.fails:
            self.fails = False
            raise LookupError("an unexpected error")
        self.image_ids += image_ids


@asynccontextmanager
async def listening(
    dsn: str, changes: Changes, metrics: Metrics | None = None, positions: ReplayPositions | None = None
) -> AsyncIterator[None]:
    """Start a feed and wait until it listens."""
    feed = ChangeFeed(ServerAddresses(dsn, LIMIT), (metrics or Metrics()).catalog, positions)
    async with background("change-feed", feed.listen(changes)):
        await until(lambda: changes.starts == 1)
        yield


async def several_tries(port: int) -> None:
    """Close three connections to the port of a dead server, and free the port again."""
    tries = 0

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", port):
        await until(lambda: tries >= 3)


async def test_an_outage_logs_one_warning_and_one_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = PostgresServer(tmp_path / "postgres", ephemeral=True)
    await asyncio.to_thread(server.start)
    changes, metrics = Changes(), Metrics()

    def is_connected() -> float | None:
        return metrics.registry.get_sample_value("image_gateway_change_feed_connected")

    try:
        async with listening(server.dsn, changes, metrics):
            await until(lambda: is_connected() == 1)
            await asyncio.to_thread(server.kill)
            await until(lambda: len(caplog.records) == 1)
            assert is_connected() == 0
            await several_tries(server.port)
            await asyncio.to_thread(server.start)
            await until(lambda: is_connected() == 1)
            assert changes.starts == 2
    finally:
        await asyncio.to_thread(server.remove_data)
    warning, end = caplog.records
    assert warning.getMessage().startswith("not listening to changes in postgres: reason=")
    assert end.getMessage() == "listening to changes in postgres again"


async def test_an_unexpected_error_does_not_end_the_feed(
    postgres_dsn: str, made_table: ImagesTable, caplog: pytest.LogCaptureFixture
) -> None:
    changes, metrics = Changes(fails=True), Metrics()
    async with listening(postgres_dsn, changes, metrics):
        await asyncio.to_thread(made_table.execute, f"NOTIFY {CHANNEL}, 'a'")
        await until(lambda: changes.starts == 2)
        await asyncio.to_thread(made_table.execute, f"NOTIFY {CHANNEL}, 'b'")
        await until(lambda: changes.image_ids == ["b"])
    counted = metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "change-feed"})
    assert counted == 1
    assert "an unexpected error" in caplog.text


async def test_a_burst_of_changes_is_bounded_and_reported_while_the_caller_is_slow(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    """The caller waits for Redis. 110,000 rows change, then all of them again: 100,000 wait, and each once."""
    changes = Changes(every=LIMIT, lease=LIMIT)
    changes.is_free.clear()
    sql = "SELECT pg_notify(%s, 'id-' || n) FROM generate_series(1, 110000) n"
    async with listening(postgres_dsn, changes):
        await until(lambda: changes.beats)
        await asyncio.to_thread(made_table.execute, sql, CHANNEL)
        await until(lambda: 9_000 <= sum(changes.dropped) <= 10_000)
        await asyncio.to_thread(made_table.execute, sql, CHANNEL)
        await until(lambda: sum(changes.dropped) >= 18_000)
        changes.is_free.set()
        await until(lambda: len(changes.image_ids) >= 100_000)
        await asyncio.to_thread(made_table.execute, f"NOTIFY {CHANNEL}, 'last'")
        await until(lambda: changes.image_ids[-1] == "last")
    assert len(changes.image_ids) < 102_000
    assert changes.starts == 1


async def test_changes_that_have_arrived_are_told_although_the_connection_is_lost_before_their_position_is_read(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    class Stopped(Changes):
        """Waits after the first changes."""

        async def rows_changed(self, image_ids: Sequence[str]) -> None:
            await super().rows_changed(image_ids)
            is_lost.append(positions.is_lost())
            if len(is_lost) == 1:
                self.is_free.clear()

    changes, positions, is_lost = Stopped(), ReplayPositions(are_told=True), list[bool]()
    changes.is_free.clear()
    end = "SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity WHERE application_name = %s"
    async with listening(postgres_dsn, changes, positions=positions):
        sql = "SELECT pg_notify(%s, 'id-' || n) FROM generate_series(1, 6000) n"
        await asyncio.to_thread(made_table.execute, sql, CHANNEL)
        await until(lambda: changes.dropped)  # all have arrived
        changes.is_free.set()
        await until(lambda: is_lost and not positions.is_lost())
        await asyncio.to_thread(made_table.execute, end, "image-gateway-changes")
        changes.is_free.set()
        await until(lambda: changes.starts == 2)
    assert set(changes.image_ids) == {f"id-{number}" for number in range(1, 6001)}
    assert is_lost[1:3] == [False, True], "no standby has the changes at an unknown position"


async def test_changes_that_come_in_the_rhythm_of_the_heartbeats_are_heard(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    """A notification that arrives in the very pass of the event loop in which a wait ends is not lost."""
    changes = Changes(every=0.01, lease=60)
    del made_table

    def write() -> None:
        with closing(psycopg2.connect(postgres_dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            for number in range(150):
                cursor.execute(f"NOTIFY {CHANNEL}, 'id-{number}'")
                cursor.execute("SELECT pg_sleep(0.01)")

    async with listening(postgres_dsn, changes):
        await asyncio.to_thread(write)
        await until(lambda: len(changes.image_ids) == 150)
        await until(lambda: changes.beats > 10)
    assert changes.starts == 1


async def test_a_connection_on_which_no_heartbeat_comes_back_is_made_anew(
    postgres_dsn: str, made_table: ImagesTable, caplog: pytest.LogCaptureFixture
) -> None:
    """As behind a pooler in transaction mode, which forgets LISTEN."""
    del made_table

    class Deaf(Changes):
        """Hears none of its heartbeats."""

        def heartbeat(self, source: Source, text: str) -> None:
            """Lose it."""

    changes = Deaf(every=2, lease=3)
    async with listening(postgres_dsn, changes):
        await until(lambda: changes.starts == 2)
    assert changes.ends == 1
    assert "reason=nobody passes notifications on: no heartbeat came back" in caplog.text


async def test_heartbeats_that_cannot_be_sent_prove_nothing_and_those_of_a_new_connection_do(
    postgres_dsn: str, made_table: ImagesTable, caplog: pytest.LogCaptureFixture
) -> None:
    """Heartbeats leave on another connection than the one that listens, which works all the time."""
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
    role, alter = "CREATE ROLE listener LOGIN PASSWORD 'listener' CONNECTION LIMIT 1", "ALTER ROLE listener"
    await asyncio.to_thread(made_table.execute, role)
    changes = Changes(every=0.2, lease=5)
    try:
        async with listening(make_dsn(postgres_dsn, user="listener", password="listener"), changes):
            await until(lambda: changes.starts >= 2)
            assert changes.beats == 0
            await asyncio.to_thread(made_table.execute, f"{alter} CONNECTION LIMIT 2")
            await until(lambda: changes.beats)
            starts = changes.starts
            await asyncio.to_thread(made_table.execute, end, "image-gateway-heartbeats")
            beats = changes.beats
            await until(lambda: changes.beats > beats + 5)
            assert changes.starts == starts
    finally:
        await asyncio.to_thread(made_table.execute, "DROP ROLE listener")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "reason=no heartbeat was sent" in warnings[0]
    assert 'too many connections for role "listener"' in warnings[0]


@pytest.mark.parametrize(("payload", "gaps"), [(f"{TEST_PREFIX}x", 0), (f"{TEST_PREFIX}installed", 1)])
async def test_a_test_of_the_trigger_comes_the_way_of_changes_and_a_new_trigger_ends_a_gap(
    postgres_dsn: str, made_table: ImagesTable, payload: str, gaps: int
) -> None:
    """Also while nobody can look for the trigger, because the pool for rows gets no connection."""
    changes, tests = Changes(), asyncio.Event()
    feed = ChangeFeed(ServerAddresses(postgres_dsn, LIMIT), Metrics().catalog)
    async with background("change-feed", feed.listen(changes, tests.set)):
        await until(lambda: changes.starts == 1)
        tests.clear()  # it is set as listening begins, too
        await asyncio.to_thread(made_table.execute, "SELECT pg_notify(%s, %s)", CHANNEL, payload)
        await asyncio.wait_for(tests.wait(), LIMIT)
    assert (changes.image_ids, changes.gaps) == ([], gaps)


def notification(payload: str) -> Notify:
    return Notify(1, CHANNEL, payload)


def append(ids: Notifications, *numbers: int) -> None:
    for number in numbers:
        ids.append(notification(f"id-{number}"))


async def test_ids_heartbeats_and_tests_of_the_trigger_wait_once_and_in_their_place() -> None:
    notifications = Notifications(list[int]().append)
    for payload in ("", "a" * 129, "a" * 8000, "a b", "é", "../a", "!other"):
        notifications.append(notification(payload))
    assert not notifications.arrived.is_set()
    for payload in ("a", "!heartbeat x-1", "a", "-test", "b"):
        notifications.append(notification(payload))
    assert notifications.arrived.is_set()
    assert notifications.take(2) == ["a", "!heartbeat x-1"]
    notifications.append(notification("a"))
    assert notifications.take(9) == ["-test", "b", "a"]
    assert notifications.take(9) == []


async def test_many_ids_are_reported_once_in_a_while_as_long_as_they_come(caplog: pytest.LogCaptureFixture) -> None:
    calls = list[int]()
    ids = Notifications(calls.append, many=10, most=20)
    append(ids, *range(100))
    assert calls == []
    await until(lambda: calls == [80])
    append(ids, 0, 100)  # the first one waits already, but it changed after that report
    await until(lambda: calls == [80, 1])
    assert len(ids.take(100)) == 20
    assert [record.getMessage() for record in caplog.records] == [
        "too many rows changed at once, every row is read again: waiting=20 dropped=80"
    ]
    assert ids.take(100) == []
    append(ids, *range(10))
    await until(lambda: calls == [80, 1, 0])
    assert len(caplog.records) == 2, "a later burst is logged again"


async def test_aiopg_and_psycopg2_keep_no_notifications_themselves(postgres_dsn: str, made_table: ImagesTable) -> None:
    """Both are used in ways that a new version may change: psycopg2's ``notifies``, and how aiopg empties it."""
    async with aiopg.connect(postgres_dsn, enable_hstore=False) as connection, connection.cursor() as cursor:
        ids = connection.raw.notifies = Notifications(list[int]().append)
        await cursor.execute(f"LISTEN {CHANNEL}")
        sql = "SELECT pg_notify(%s, 'id-' || n) FROM generate_series(1, 1000) n"
        await asyncio.to_thread(made_table.execute, sql, CHANNEL)
        seen: set[str] = set()
        async with asyncio.timeout(LIMIT):
            while len(seen) < 1000:
                await ids.arrived.wait()
                ids.arrived.clear()
                assert connection.notifies.empty()
                seen.update(ids.take(1000))
