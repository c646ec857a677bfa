"""The notifications that wait: each once, a bounded number, and none of them in aiopg."""

import asyncio
from dataclasses import dataclass

import aiopg
import pytest

from gateway.catalog.change_feed import CHANNEL
from gateway.catalog.notifications import Notifications
from gateway_dev.database import ImagesTable
from tests.limits import LIMIT
from tests.waiting import until


@dataclass
class Notification:
    """A notification as psycopg2 makes it."""

    payload: str


class Calls:
    """The calls of ``too_many``."""

    def __init__(self) -> None:
        self.dropped: list[int] = []

    def __call__(self, dropped: int) -> None:
        self.dropped.append(dropped)


def append(ids: Notifications, *numbers: int) -> None:
    for number in numbers:
        ids.append(Notification(f"id-{number}"))


async def test_an_id_that_waits_waits_once_and_in_its_place() -> None:
    ids = Notifications(Calls())
    append(ids, 1, 2, 1, 3)
    assert ids.take(2) == ["id-1", "id-2"]
    append(ids, 1)
    assert ids.take(9) == ["id-3", "id-1"]
    assert ids.take(9) == []


@pytest.mark.parametrize("payload", ["", "a" * 129, "a" * 8000, "a b", "é", "../a", "!other"])
async def test_a_payload_that_nobody_handles_is_ignored(payload: str) -> None:
    notifications = Notifications(Calls())
    notifications.append(Notification(payload))
    assert not notifications.arrived.is_set()
    assert notifications.take(9) == []


async def test_heartbeats_and_tests_of_the_trigger_wait_among_the_ids() -> None:
    notifications = Notifications(Calls())
    for payload in ("a", "!heartbeat x-1", "-test", "b"):
        notifications.append(Notification(payload))
    assert notifications.arrived.is_set()
    assert notifications.take(9) == ["a", "!heartbeat x-1", "-test", "b"]


async def test_few_ids_are_reported_to_nobody() -> None:
    calls, others = Calls(), Calls()
    ids, full = Notifications(calls, many=10), Notifications(others, many=9)
    append(ids, *range(9), *range(9))
    append(full, *range(9))
    await until(lambda: others.dropped == [0])  # by then the other would have been, too
    assert calls.dropped == []


async def test_many_ids_are_reported_once_in_a_while_as_long_as_they_come(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    ids = Notifications(calls, many=10, most=20)
    append(ids, *range(100))
    assert calls.dropped == []
    await until(lambda: calls.dropped == [80])
    append(ids, 0, 100)  # the first one waits already, but it changed after that report
    await until(lambda: calls.dropped == [80, 1])
    assert len(ids.take(100)) == 20
    assert [record.getMessage() for record in caplog.records] == [
        "too many rows changed at once, every row is read again: waiting=20 dropped=80"
    ]


async def test_a_later_burst_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls()
    ids = Notifications(calls, many=1)
    append(ids, 1)
    await until(lambda: len(calls.dropped) == 1)
    while ids.take(100):
        pass
    append(ids, 1)
    await until(lambda: len(calls.dropped) == 2)
    assert len(caplog.records) == 2


async def test_nothing_is_reported_after_the_end() -> None:
    calls, others = Calls(), Calls()
    ids, other = Notifications(calls, many=1), Notifications(others, many=1)
    append(ids, 1)
    append(other, 1)
    ids.close()
    await until(lambda: others.dropped == [0])
    assert calls.dropped == []


async def test_aiopg_and_psycopg2_keep_no_notifications_themselves(postgres_dsn: str, made_table: ImagesTable) -> None:
    """Both are used in ways that a new version may change: psycopg2's ``notifies``, and how aiopg empties it."""
    async with aiopg.connect(postgres_dsn, enable_hstore=False) as connection, connection.cursor() as cursor:
        ids = connection.raw.notifies = Notifications(Calls())
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
