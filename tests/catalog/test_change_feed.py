"""The change feed: what it says of an outage, and that nothing ends it."""

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
class Heard:
    """What a feed told; the first change it tells of ends in an error if ``fails``."""

    fails: bool = False
    starts: int = 0
    image_ids: list[str] = field(default_factory=list)

    def started(self) -> None:
        """Listening has begun."""
        self.starts += 1

    async def changed(self, image_ids: Sequence[str]) -> None:
        """The images changed."""
        if self.fails:
            self.fails = False
            raise LookupError("nobody foresaw this")
        self.image_ids += image_ids


@asynccontextmanager
async def listening(dsn: str, heard: Heard, metrics: Metrics | None = None) -> AsyncIterator[None]:
    """A feed that has begun to listen."""
    feed = ChangeFeed(dsn, 1, metrics or Metrics())
    async with background("change-feed", feed.listen(started=heard.started, changed=heard.changed)):
        await until(lambda: heard.starts == 1)
        yield


async def test_an_outage_is_one_warning_however_often_the_feed_tries_to_connect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = PostgresServer(tmp_path / "postgres", ephemeral=True)
    await asyncio.to_thread(server.start)
    heard = Heard()
    try:
        async with listening(server.dsn, heard):
            await asyncio.to_thread(server.kill)
            await until(lambda: len(caplog.records) == 1)
            await asyncio.sleep(1)  # tries follow after 0.1, 0.2 and 0.4 s
            await asyncio.to_thread(server.start)
            await until(lambda: heard.starts == 2, seconds=15)
    finally:
        await asyncio.to_thread(server.remove_data)
    warning, end = caplog.records
    assert warning.getMessage().startswith("not listening to changes in postgres: reason=")
    assert end.getMessage() == "listening to changes in postgres again"


async def test_an_error_that_nobody_foresaw_does_not_end_the_listening(
    postgres_dsn: str, made_table: ImagesTable, caplog: pytest.LogCaptureFixture
) -> None:
    heard, metrics = Heard(fails=True), Metrics()
    async with listening(postgres_dsn, heard, metrics):
        await asyncio.to_thread(made_table.execute, f"NOTIFY {CHANNEL}, 'a'")
        await until(lambda: heard.starts == 2)
        await asyncio.to_thread(made_table.execute, f"NOTIFY {CHANNEL}, 'b'")
        await until(lambda: heard.image_ids == ["b"])
    counted = metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "change-feed"})
    assert counted == 1
    assert "nobody foresaw this" in caplog.text
