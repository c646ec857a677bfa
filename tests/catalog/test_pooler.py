"""The connection pool behind a PgBouncer whose only connection is in use."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg2
import pytest

from gateway.catalog.postgres import PostgresCatalog
from gateway.errors import CatalogUnavailable
from gateway.service.metrics import Metrics
from gateway_dev.database import ImagesTable
from tests.catalog.conftest import CONNECTED, RECORD, OpenCatalog, ask, connections
from tests.catalog.test_pool import is_served
from tests.pgbouncer import Pooler, running_pgbouncer
from tests.waiting import until

POOL_SIZE = 3


@pytest.fixture(scope="module")
def pooler(postgres_dsn: str, server_folder: Path) -> Iterator[Pooler]:
    """A pooler in front of the run's Postgres."""
    with running_pgbouncer(postgres_dsn, server_folder / "full-pgbouncer") as made:
        yield made


@asynccontextmanager
async def busy(pooler: Pooler) -> AsyncIterator[None]:
    """The application keeps the pooler's connection in a transaction."""

    def begin() -> "psycopg2.extensions.connection":
        connection = psycopg2.connect(pooler.dsn)
        connection.cursor().execute("SELECT 1")
        return connection

    connection = await asyncio.to_thread(begin)
    with closing(connection):
        yield


async def asked_for(catalog: PostgresCatalog, seconds: float) -> None:
    """Ask for an image again and again; each time it is not available."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with pytest.raises(CatalogUnavailable):
            await catalog.fetch("cat")


async def test_a_full_pooler_gets_no_more_clients_than_the_pool_has_connections(
    open_one: OpenCatalog, table: ImagesTable, pooler: Pooler, metrics: Metrics
) -> None:
    """PgBouncer does not notice that a client which waits has left, so each new connection would be one more."""
    del table  # but the image is there
    timeout = 2
    catalog = await open_one(dsn=pooler.dsn, pool_size=POOL_SIZE, timeout=timeout)
    await until(lambda: is_served(catalog))
    seen = []
    async with busy(pooler):
        for _ in range(2):
            await asyncio.gather(*(asked_for(catalog, 2 * timeout) for _ in range(8)))
            seen.append(await asyncio.to_thread(pooler.waiting, "image-gateway"))
        assert seen == [POOL_SIZE] * 2
        with pytest.raises(CatalogUnavailable, match=f"{POOL_SIZE} of {POOL_SIZE} connections wait for a server, or"):
            await catalog.fetch("cat")
        assert connections(metrics, "abandoned") == POOL_SIZE
    await until(lambda: connections(metrics, "abandoned") == 0)
    assert await asyncio.gather(*(catalog.fetch("cat") for _ in range(10))) == [RECORD] * 10
    assert connections(metrics, "idle") == POOL_SIZE
    assert metrics.registry.get_sample_value("image_gateway_postgres_waiting") == 0


async def test_the_pool_of_the_primary_is_a_part_of_the_size(
    open_one: OpenCatalog,
    images_table: ImagesTable,
    links_table: ImagesTable,
    table: ImagesTable,
    pooler: Pooler,
    postgres_dsn: str,
    metrics: Metrics,
) -> None:
    """Rows are read through the pooler, and links are killed at the primary, while both tables are locked."""
    del images_table, links_table, table
    size, timeout = 5, 2
    catalog = await open_one(dsn=pooler.dsn, listen_dsn=postgres_dsn, listen=True, pool_size=size, timeout=timeout)
    await until(lambda: is_served(catalog))
    holder: psycopg2.extensions.connection = await asyncio.to_thread(psycopg2.connect, postgres_dsn)
    seen = []
    with closing(holder):
        cursor = holder.cursor()
        await asyncio.to_thread(cursor.execute, "LOCK TABLE images, image_gateway_links IN ACCESS EXCLUSIVE MODE")
        for _ in range(2):
            calls = [*(catalog.fetch("cat") for _ in range(8)), *(catalog.kill_links("cat") for _ in range(8))]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(outcome, CatalogUnavailable)
            ((backends,),) = await asyncio.to_thread(ask, postgres_dsn, CONNECTED)
            seen.append(backends + await asyncio.to_thread(pooler.waiting, "image-gateway"))
            assert sum(connections(metrics, state) or 0 for state in ("in_use", "idle", "abandoned")) <= size
    assert max(seen) <= size - 1, "one is left for heartbeats"
    assert min(seen) > 1, "both pools are in use"
