"""The adapter against a real Postgres, also one that is slow, gone, or comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from gateway.catalog.postgres import CatalogQueryRefused, PostgresCatalog, open_catalog
from gateway.catalog.record import ImageRecord
from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.errors import CatalogUnavailable
from gateway.metrics.collectors import Metrics
from gateway.settings import PostgresSettings
from tests.catalog.conftest import OpenCatalog
from tests.conftest import BUCKET
from tests.waiting import until

Execute = Callable[[str], Awaitable[None]]

ROW = ImageRow("cat", "alice", "objects/cat.png", content_type="image/png", public=True)
RECORD = ImageRecord("cat", "alice", True, BUCKET, "ap-guangzhou", "objects/cat.png", "image/png")


@pytest.fixture
def table(images_table: ImagesTable) -> ImagesTable:
    """The application's table with one image."""
    images_table.put([ROW])
    return images_table


def queries(metrics: Metrics, result: str) -> float:
    """How often the catalog answered so."""
    return metrics.registry.get_sample_value("image_gateway_catalog_queries_total", {"result": result}) or 0.0


def ask(dsn: str, sql: str) -> list[tuple[object, ...]]:
    """What Postgres says to somebody else."""
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
    """Nobody can read the table meanwhile: every query hangs."""

    def lock() -> "psycopg2.extensions.connection":
        connection = psycopg2.connect(dsn)
        connection.cursor().execute("LOCK TABLE images IN ACCESS EXCLUSIVE MODE")
        return connection

    connection = await asyncio.to_thread(lock)
    try:
        yield
    finally:
        await asyncio.to_thread(connection.close)


async def test_an_image_is_found(catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics) -> None:
    assert await catalog.fetch("cat") == RECORD
    assert queries(metrics, "found") == 1


@pytest.mark.parametrize("status", ["deleted", "pending", "", "ACTIVE"])
async def test_an_image_that_is_unknown_or_not_active_is_none(
    catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics, status: str
) -> None:
    await asyncio.to_thread(table.put, [ImageRow("dog", "alice", "dog.png", status=status)])
    assert await catalog.fetch("dog") is None
    assert await catalog.fetch("nobody") is None
    assert queries(metrics, "missing") == 2


async def test_many_images_come_in_one_query(catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics) -> None:
    await asyncio.to_thread(table.put, [ImageRow(f"image-{n}", None, f"{n}.png") for n in range(200)])
    wanted = [f"image-{n}" for n in range(200)]
    found = await catalog.fetch_many([*wanted, "nobody", "cat"])
    assert found.keys() == {*wanted, "cat"}
    assert found["image-7"].key == "7.png"
    assert queries(metrics, "found") == 1
    assert await catalog.fetch_many([]) == {}


async def test_a_row_that_cannot_be_served_is_no_image_and_a_warning_for_the_operator(
    catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(table.put, [ImageRow("odd", None, "a/.."), ImageRow("lost", None, "a", bucket="evil/x")])
    assert (await catalog.fetch_many(["odd", "lost", "cat"])).keys() == {"cat"}
    assert queries(metrics, "unusable") == 2
    assert "image_id=odd" in caplog.text


async def test_a_row_may_name_a_bucket_and_a_region_of_its_own(catalog: PostgresCatalog, table: ImagesTable) -> None:
    await asyncio.to_thread(
        table.put, [ImageRow("far", None, "far.png", bucket="eu-1250000001", region="eu-frankfurt")]
    )
    record = await catalog.fetch("far")
    assert record is not None
    assert (record.bucket, record.region) == ("eu-1250000001", "eu-frankfurt")


@pytest.mark.parametrize(
    ("create", "settings", "image_id"),
    [
        (
            """CREATE SCHEMA media; CREATE TABLE media.pictures (nr int, path text);
            INSERT INTO media.pictures VALUES (42, 'p/42.png')""",
            {"table": "media.pictures", "columns": {"id": "nr", "key": "path"}},
            "42",
        ),
        (
            """CREATE TABLE "Camel" ("Id" uuid, "Key" varchar);
            INSERT INTO "Camel" VALUES ('6f9619ff-8b86-d011-b42d-00cf4fc964ff', 'p/42.png')""",
            {"table": "Camel", "columns": {"id": "Id", "key": "Key"}},
            "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
        ),
        (
            """CREATE TABLE numbered (id bigint, owner_no integer, key text);
            INSERT INTO numbered VALUES (42, 7, 'p/42.png')""",
            {"table": "numbered", "columns": {"key": "key", "owner": "owner_no"}},
            "42",
        ),
    ],
)
async def test_the_table_may_look_otherwise(
    open_one: OpenCatalog, images_table: ImagesTable, create: str, settings: dict[str, Any], image_id: str
) -> None:
    drop = 'DROP SCHEMA IF EXISTS media CASCADE; DROP TABLE IF EXISTS "Camel", numbered'
    await asyncio.to_thread(images_table.execute, drop + ";" + create)
    columns = {
        **dict.fromkeys(["owner", "bucket", "region", "content_type", "public", "status"]),
        **settings["columns"],
    }
    try:
        catalog = await open_one(**{**settings, "columns": columns})
        record = await catalog.fetch(image_id)
        assert record is not None
        assert (record.image_id, record.key, record.public) == (image_id, "p/42.png", False)
        assert record.owner == ("7" if "owner" in settings["columns"] else None)
        assert await catalog.fetch_many(["0" + image_id, "not-an-id", "9" * 30]) == {}
        assert await catalog.any_image() == record
    finally:
        await asyncio.to_thread(images_table.execute, drop)


@pytest.mark.parametrize(
    "settings",
    [{"table": "nowhere"}, {"table": "nowhere.images"}, {"columns": {"id": "nr"}}, {"columns": {"key": "path"}}],
)
async def test_a_table_or_a_column_that_is_not_there_is_said_by_name(
    open_one: OpenCatalog, table: ImagesTable, metrics: Metrics, settings: dict[str, object]
) -> None:
    catalog = await open_one(**settings)
    with pytest.raises(CatalogUnavailable, match=r"nowhere|nr|path"):
        await catalog.fetch("cat")
    with pytest.raises(CatalogUnavailable, match=r"nowhere|nr|path"):
        await catalog.any_image()
    assert queries(metrics, "error") == 1


async def test_a_table_that_is_altered_meanwhile_is_read_again_after_one_error(
    open_one: OpenCatalog, images_table: ImagesTable
) -> None:
    columns = {**dict.fromkeys(["owner", "bucket", "region", "content_type", "public", "status"]), "key": "key"}
    execute = images_table.execute
    await asyncio.to_thread(execute, "DROP TABLE IF EXISTS changing; CREATE TABLE changing (id text, key text)")
    await asyncio.to_thread(execute, "INSERT INTO changing VALUES ('42', '42.png')")
    try:
        catalog = await open_one(table="changing", columns=columns)
        assert await catalog.fetch("42") is not None
        await asyncio.to_thread(execute, "ALTER TABLE changing ALTER id TYPE integer USING id::integer")
        with pytest.raises(CatalogUnavailable):
            await catalog.fetch("42")
        assert await catalog.fetch("42") is not None
    finally:
        await asyncio.to_thread(execute, "DROP TABLE changing")


@pytest.fixture
async def changing(open_one: OpenCatalog, images_table: ImagesTable) -> AsyncIterator[tuple[PostgresCatalog, Execute]]:
    """A catalog on a table of its own, named ``changing``, and what runs SQL there."""
    columns = {**dict.fromkeys(["owner", "bucket", "region", "content_type", "public", "status"]), "key": "key"}

    async def execute(sql: str) -> None:
        await asyncio.to_thread(images_table.execute, sql)

    await execute("DROP TABLE IF EXISTS changing; CREATE TABLE changing (id integer, key text)")
    yield await open_one(table="changing", columns=columns), execute
    await execute("DROP TABLE changing")


async def test_ids_beyond_the_old_type_of_the_column_are_found_without_a_restart(
    changing: tuple[PostgresCatalog, Execute],
) -> None:
    catalog, execute = changing
    await execute("INSERT INTO changing VALUES (42, '42.png')")
    assert await catalog.fetch("42") is not None
    assert await catalog.fetch("3000000000") is None
    await execute("ALTER TABLE changing ALTER id TYPE bigint")
    await execute("INSERT INTO changing VALUES (3000000000, 'new.png')")
    assert await catalog.fetch("3000000000") is not None
    assert (await catalog.fetch_many(["42", "3000000000", "not-an-id"])).keys() == {"42", "3000000000"}


async def test_ids_in_a_column_of_char_n_are_found(changing: tuple[PostgresCatalog, Execute]) -> None:
    catalog, execute = changing
    await execute("ALTER TABLE changing ALTER id TYPE char(12) USING id::char(12)")
    await execute("INSERT INTO changing VALUES ('abc', 'short.png'), ('abcdefghijkl', 'whole.png')")
    found = await catalog.fetch_many(["abc", "abcdefghijkl", "a"])
    assert {image_id: record.key for image_id, record in found.items()} == {
        "abc": "short.png",
        "abcdefghijkl": "whole.png",
    }


@pytest.mark.parametrize(
    ("harm", "repair"),
    [
        ("RENAME key TO path", "RENAME path TO key"),
        ("RENAME TO elsewhere", None),
        ("ALTER id TYPE integer[] USING ARRAY[id]", "ALTER id TYPE integer USING id[1]"),
    ],
)
async def test_the_probe_fails_where_the_query_of_requests_does(
    changing: tuple[PostgresCatalog, Execute], harm: str, repair: str | None
) -> None:
    catalog, execute = changing
    await catalog.try_query()
    await execute(f"ALTER TABLE changing {harm}")
    with pytest.raises(CatalogQueryRefused):
        await catalog.try_query()
    await execute(f"ALTER TABLE changing {repair}" if repair else "ALTER TABLE elsewhere RENAME TO changing")
    await catalog.try_query()


async def test_the_probe_asks_for_the_table_of_links_where_requests_do(
    postgres_dsn: str, images_table: ImagesTable, metrics: Metrics
) -> None:
    settings = PostgresSettings.model_validate({"dsn": postgres_dsn})
    await asyncio.to_thread(images_table.execute, "DROP TABLE IF EXISTS image_gateway_links")
    async with open_catalog(
        settings, default_bucket=BUCKET, default_region="ap-guangzhou", metrics=metrics, with_links=True
    ) as catalog:
        with pytest.raises(CatalogQueryRefused, match="image_gateway_links"):
            await catalog.try_query()
        await asyncio.to_thread(images_table.create_links)
        await catalog.try_query()


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


async def test_a_chinese_key_in_a_database_of_sql_ascii_is_read_and_other_bytes_cost_only_their_row(
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
    rows = await catalog.fetch_rows(["gbk", "utf-8", "gbk-2", "plain", "nobody"])
    assert rows.records.keys() == {"utf-8", "plain"}
    assert rows.unusable.keys() == {"gbk", "gbk-2"}
    assert "image_id=gbk reason=the row holds text that is not UTF-8" in caplog.text
    assert await catalog.fetch("gbk") is None


async def test_any_image_of_an_empty_table_is_none(catalog: PostgresCatalog, images_table: ImagesTable) -> None:
    assert await catalog.any_image() is None
    await catalog.try_query()


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 port=1 user=gateway", "host=/nonexistent user=gateway"])
async def test_a_postgres_that_is_not_there_is_a_catalog_that_is_unavailable(
    open_one: OpenCatalog, metrics: Metrics, dsn: str
) -> None:
    catalog = await open_one(dsn=dsn)
    with pytest.raises(CatalogUnavailable):
        await catalog.fetch("cat")
    with pytest.raises(CatalogUnavailable):
        await catalog.try_query()
    assert queries(metrics, "error") == 1


async def test_lesson_11_a_query_that_hangs_is_given_up_by_us_and_soon_after_by_the_server(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    catalog = await open_one(timeout=0.2)
    await catalog.fetch("cat")
    async with locked(postgres_dsn):
        began = time.monotonic()
        with pytest.raises(CatalogUnavailable, match="no answer within"):
            await catalog.fetch("cat")
        assert time.monotonic() - began < 1
        await until(lambda: asyncio.to_thread(lambda: not waiting(postgres_dsn)), seconds=3)
    assert await catalog.fetch("cat") == RECORD


async def test_lesson_11_a_query_that_the_server_cancels_is_no_cancellation_of_the_request(
    catalog: PostgresCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    async with locked(postgres_dsn):
        asking = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: asyncio.to_thread(waiting, postgres_dsn))
        # What the server's statement_timeout does, at a moment of our choosing.
        ((pid,),) = await asyncio.to_thread(waiting, postgres_dsn)
        await asyncio.to_thread(ask, postgres_dsn, f"SELECT pg_cancel_backend({pid})")
        with pytest.raises(CatalogUnavailable):
            await asking
    assert await catalog.fetch("cat") == RECORD


async def test_a_request_that_is_cancelled_stays_cancelled(
    catalog: PostgresCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    async with locked(postgres_dsn):
        asking = asyncio.create_task(catalog.fetch("cat"))
        await until(lambda: asyncio.to_thread(waiting, postgres_dsn))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert asking.cancelled()
    assert await catalog.fetch("cat") == RECORD


async def test_lesson_11_waiting_for_a_connection_is_bounded(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    catalog = await open_one(pool_size=1, timeout=0.3)
    async with locked(postgres_dsn):
        began = time.monotonic()
        results = await asyncio.gather(*(catalog.fetch("cat") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(result, CatalogUnavailable) for result in results)
        assert time.monotonic() - began < 1.5
    assert await catalog.fetch("cat") == RECORD


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A Postgres that this test may stop."""
    server = PostgresServer(tmp_path / "postgres", ephemeral=True)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.remove_data)


async def test_lesson_11_the_pool_heals_by_itself_after_a_restart_of_postgres(
    open_one: OpenCatalog, own_server: PostgresServer
) -> None:
    table = ImagesTable(own_server.dsn)
    await asyncio.to_thread(table.create)
    await asyncio.to_thread(table.put, [ROW])
    catalog = await open_one(dsn=own_server.dsn, timeout=1)
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

    async def heals() -> None:
        while True:
            try:
                assert await catalog.fetch("cat") == RECORD
            except CatalogUnavailable:
                await asyncio.sleep(0.05)
            else:
                return

    await asyncio.wait_for(heals(), 5)
    assert await asyncio.gather(*(catalog.fetch("cat") for _ in range(10))) == [RECORD] * 10
