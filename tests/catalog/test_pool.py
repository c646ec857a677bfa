"""The connection pool on a Postgres that is slow, stopped, restarted, or of another encoding."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from gateway.catalog.postgres import PostgresCatalog
from gateway.errors import CatalogUnavailable
from gateway.metrics.collectors import Metrics
from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.postgres_server import PostgresServer
from tests.catalog.conftest import RECORD, ROW, OpenCatalog, queries
from tests.limits import LIMIT
from tests.waiting import until


def ask(dsn: str, sql: str) -> list[tuple[object, ...]]:
    """Return the rows that another connection reads."""
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def waiting(dsn: str) -> list[tuple[object, ...]]:
    """The server processes in which a query of the gateway waits for a lock."""
    return ask(
        dsn,
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'image-gateway' AND state = 'active' AND wait_event_type = 'Lock'",
    )


@asynccontextmanager
async def locked(dsn: str) -> AsyncIterator[None]:
    """Lock the table: every query of it hangs meanwhile."""

    def lock() -> "psycopg2.extensions.connection":
        connection = psycopg2.connect(dsn)
        connection.cursor().execute("LOCK TABLE images IN ACCESS EXCLUSIVE MODE")
        return connection

    connection = await asyncio.to_thread(lock)
    try:
        yield
    finally:
        await asyncio.to_thread(connection.close)


@pytest.fixture
async def ascii_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """The DSN of a database whose encoding is SQL_ASCII: Postgres takes and gives bytes as they are."""

    def execute(sql: str) -> None:
        with closing(psycopg2.connect(postgres_dsn)) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql)

    await asyncio.to_thread(
        execute, "CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    yield make_dsn(postgres_dsn, dbname="plain")
    await asyncio.to_thread(execute, "DROP DATABASE plain WITH (FORCE)")


async def test_a_database_of_sql_ascii_is_read_as_utf_8_row_by_row(
    open_one: OpenCatalog, ascii_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = ImagesTable(make_dsn(ascii_dsn, client_encoding="UTF8"))
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ImageRow("utf-8", None, "图片.png"), ImageRow("plain", None, "plain.png")])
    await asyncio.to_thread(
        table.execute,
        "INSERT INTO images (id, cos_key) SELECT id, convert_from('\\xc4e3bac3', 'SQL_ASCII') "
        "FROM unnest(ARRAY['gbk', 'gbk-2']) id",
    )
    catalog = await open_one(dsn=ascii_dsn)
    record = await catalog.fetch("utf-8")
    assert record is not None
    assert record.key == "图片.png"
    rows = await catalog.fetch_rows(["gbk", "utf-8", "gbk-2", "plain", "unknown"])
    assert rows.records.keys() == {"utf-8", "plain"}
    assert rows.unusable.keys() == {"gbk", "gbk-2"}
    assert "image_id=gbk reason=the row holds text that is not UTF-8" in caplog.text
    assert await catalog.fetch("gbk") is None


@pytest.fixture
def computed(images_table: ImagesTable) -> Iterator[str]:
    """A view in which an expression fails for the ids that begin with b."""
    images_table.put([ImageRow(f"{kind}-{number}", None, "x.png") for kind in "ab" for number in range(20)])
    images_table.execute(
        "CREATE OR REPLACE VIEW computed AS SELECT id, user_id, cos_key, cos_bucket, cos_region, mime_type, is_public, "
        "CASE WHEN left(id, 1) = 'b' THEN (1 / (length(id) - length(id)))::text ELSE storage_status END storage_status "
        "FROM images"
    )
    yield "computed"
    images_table.execute("DROP VIEW computed")


async def test_a_row_that_postgres_cannot_read_hides_no_other(
    open_one: OpenCatalog, computed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The table may be a view whose expressions fail for some rows."""
    catalog = await open_one(table=computed)
    rows = await catalog.fetch_rows(["a-1", "b-1", "a-2", "unknown"])
    assert rows.records.keys() == {"a-1", "a-2"}
    assert rows.unusable.keys() == {"b-1"}
    assert "image_id=b-1 reason=Postgres cannot read the row: DivisionByZero" in caplog.text


@pytest.mark.parametrize(
    "ids", [["b-1"], ["b-1", "unknown"], ["a-1", *(f"b-{number}" for number in range(20))]], ids=["one", "all", "many"]
)
async def test_a_table_that_postgres_cannot_read_is_unavailable_and_no_image_unknown(
    open_one: OpenCatalog, computed: str, ids: list[str]
) -> None:
    with pytest.raises(CatalogUnavailable, match="division by zero"):
        await (await open_one(table=computed)).fetch_rows(ids)


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 port=1 user=gateway", "host=/nonexistent user=gateway"])
async def test_an_unreachable_postgres_makes_the_catalog_unavailable(
    open_one: OpenCatalog, metrics: Metrics, dsn: str
) -> None:
    catalog = await open_one(dsn=dsn)
    with pytest.raises(CatalogUnavailable):
        await catalog.fetch("cat")
    with pytest.raises(CatalogUnavailable):
        await catalog.try_query()
    assert queries(metrics, "error") == 1


async def test_a_hanging_query_is_abandoned_and_then_stopped_by_the_server(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    catalog = await open_one(timeout=2)
    await catalog.fetch("cat")
    async with locked(postgres_dsn):
        began = time.monotonic()
        with pytest.raises(CatalogUnavailable, match="no answer within"):
            await catalog.fetch("cat")
        assert time.monotonic() - began < 20
        await until(lambda: asyncio.to_thread(lambda: not waiting(postgres_dsn)))
    assert await catalog.fetch("cat") == RECORD


async def test_a_query_that_the_server_cancels_does_not_cancel_the_request(
    catalog: PostgresCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    async with locked(postgres_dsn):
        fetching = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: asyncio.to_thread(waiting, postgres_dsn))
        # The same as the server's statement_timeout, at a moment that the test chooses.
        ((pid,),) = await asyncio.to_thread(waiting, postgres_dsn)
        await asyncio.to_thread(ask, postgres_dsn, f"SELECT pg_cancel_backend({pid})")
        with pytest.raises(CatalogUnavailable):
            await fetching
    assert await catalog.fetch("cat") == RECORD


async def test_a_cancelled_request_stays_cancelled(
    catalog: PostgresCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    async with locked(postgres_dsn):
        fetching = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: asyncio.to_thread(waiting, postgres_dsn))
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert fetching.cancelled()
    assert await catalog.fetch("cat") == RECORD


async def test_waiting_for_a_connection_is_bounded(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    catalog = await open_one(pool_size=1, timeout=2)
    async with locked(postgres_dsn):
        began = time.monotonic()
        results = await asyncio.gather(*(catalog.fetch("cat") for _ in range(20)), return_exceptions=True)
        assert all(isinstance(result, CatalogUnavailable) for result in results)
        assert time.monotonic() - began < 15 * 2, "they do not wait one after the other"
    assert await catalog.fetch("cat") == RECORD


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A Postgres that this test may stop."""
    server = PostgresServer(tmp_path / "postgres", ephemeral=True)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.remove_data)


async def test_the_pool_recovers_after_a_restart_of_postgres(open_one: OpenCatalog, own_server: PostgresServer) -> None:
    table = ImagesTable(own_server.dsn)
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ROW])
    catalog = await open_one(dsn=own_server.dsn, timeout=2)
    await asyncio.gather(*(catalog.fetch("cat") for _ in range(5)))  # several connections are open and idle

    own_server.pause()
    with pytest.raises(CatalogUnavailable):
        await catalog.fetch("cat")
    own_server.resume()
    assert await catalog.fetch("cat") == RECORD

    await asyncio.to_thread(own_server.kill)
    with pytest.raises(CatalogUnavailable):
        await catalog.fetch("cat")
    await asyncio.to_thread(own_server.start)

    async def recovers() -> None:
        while True:
            try:
                assert await catalog.fetch("cat") == RECORD
            except CatalogUnavailable:
                await asyncio.sleep(0.05)
            else:
                return

    await asyncio.wait_for(recovers(), LIMIT)
    assert await asyncio.gather(*(catalog.fetch("cat") for _ in range(10))) == [RECORD] * 10


async def test_a_late_event_loop_is_no_failure_of_postgres(open_one: OpenCatalog, table: ImagesTable) -> None:
    """As when many streams start at once: the answers are in the sockets, and the loop reads them seconds later."""
    catalog = await open_one(timeout=1, pool_size=2)

    async def late_loop() -> None:
        while True:
            ends_at = time.monotonic() + 0.1
            while time.monotonic() < ends_at:
                pass
            await asyncio.sleep(0)

    late = asyncio.create_task(late_loop(), name="late-loop")
    try:
        assert [await asyncio.gather(*(catalog.fetch("cat") for _ in range(4)))] == [[RECORD] * 4]
    finally:
        late.cancel()
