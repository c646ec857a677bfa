"""The change feed during outages and errors."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.catalog.change_feed import CHANNEL, ChangeFeed
from gateway.concurrency.background import background
from gateway.dev.database import ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.metrics.collectors import Metrics
from tests.waiting import until


@dataclass
class Changes:
    """Records the calls of a feed; the first change raises an error if ``fails``."""

    fails: bool = False
    starts: int = 0
    image_ids: list[str] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    is_free: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.is_free.set()

    def started(self) -> None:
        """Count a start."""
        self.starts += 1

    async def changed(self, image_ids: Sequence[str]) -> None:
        """Record the ids, or raise; but wait while it is not free."""
        await self.is_free.wait()
        if self.fails:
            self.fails = False
            raise LookupError("an unexpected error")
        self.image_ids += image_ids

    def too_many(self, dropped: int) -> None:
        """Record that many ids wait."""
        self.dropped.append(dropped)


@asynccontextmanager
async def listening(dsn: str, changes: Changes, metrics: Metrics | None = None) -> AsyncIterator[None]:
    """Start a feed and wait until it listens."""
    feed = ChangeFeed(dsn, 1, metrics or Metrics())
    listening = feed.listen(started=changes.started, changed=changes.changed, too_many=changes.too_many)
    async with background("change-feed", listening):
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
            assert is_connected() == 1
            await asyncio.to_thread(server.kill)
            await until(lambda: len(caplog.records) == 1)
            assert is_connected() == 0
            await several_tries(server.port)
            await asyncio.to_thread(server.start)
            await until(lambda: changes.starts == 2)
            assert is_connected() == 1
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
    changes = Changes()
    changes.is_free.clear()
    sql = "SELECT pg_notify(%s, 'id-' || n) FROM generate_series(1, 110000) n"
    async with listening(postgres_dsn, changes):
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
