"""A catalog on a real Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from typing import Any

import psycopg2
import pytest

from gateway.catalog.postgres import PostgresCatalog, open_catalog
from gateway.catalog.record import ImageRecord
from gateway.service.metrics import Metrics
from gateway.settings import PostgresSettings
from gateway_dev.database import ImageRow, ImagesTable
from tests.conftest import BUCKET

OpenCatalog = Callable[..., Awaitable[PostgresCatalog]]

ROW = ImageRow("cat", "alice", "objects/cat.png", content_type="image/png", public=True)
RECORD = ImageRecord("cat", "alice", True, BUCKET, "ap-guangzhou", "objects/cat.png", "image/png")
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'image-gateway'"


@pytest.fixture
async def open_one(postgres_dsn: str, metrics: Metrics) -> AsyncIterator[OpenCatalog]:
    """Opens catalogs that end with the test; keyword arguments change ``postgres``. No heartbeats are sent."""
    async with AsyncExitStack() as stack:

        async def opened(**settings: Any) -> PostgresCatalog:
            made = PostgresSettings.model_validate({"dsn": postgres_dsn, "timeout": 30, "listen": False, **settings})
            opening = open_catalog(
                made, default_bucket=BUCKET, regions={BUCKET: "ap-guangzhou"}, metrics=metrics.catalog
            )
            return await stack.enter_async_context(opening)

        yield opened


@pytest.fixture
async def catalog(open_one: OpenCatalog) -> PostgresCatalog:
    """A catalog as it is configured by default."""
    return await open_one()


@pytest.fixture
def table(images_table: ImagesTable) -> ImagesTable:
    """The application's table with one image."""
    images_table.put([ROW])
    return images_table


def queries(metrics: Metrics, result: str) -> float:
    """Return how many queries had this result."""
    return metrics.registry.get_sample_value("image_gateway_catalog_queries_total", {"result": result}) or 0.0


def connections(metrics: Metrics, state: str) -> float | None:
    """Return the number of connections in this state."""
    return metrics.registry.get_sample_value("image_gateway_postgres_connections", {"state": state})


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows that another connection reads."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
