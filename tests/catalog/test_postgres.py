"""The catalog on a real Postgres."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gateway.catalog.postgres import CatalogQueryRefused, PostgresCatalog
from gateway.errors import CatalogUnavailable
from gateway.service.metrics import Metrics
from gateway_dev.database import ImageRow, ImagesTable
from tests.catalog.conftest import RECORD, ROW, OpenCatalog, queries
from tests.conftest import BUCKET

Execute = Callable[[str], Awaitable[None]]


@pytest.mark.parametrize("status", ["deleted", "pending", "", "ACTIVE"])
async def test_an_image_that_is_unknown_or_not_active_is_none(
    catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics, status: str
) -> None:
    await asyncio.to_thread(table.put, [ImageRow("dog", "alice", "dog.png", status=status)])
    assert await catalog.fetch("dog") is None
    assert await catalog.fetch("unknown") is None
    assert queries(metrics, "missing") == 2


async def test_images_are_read_in_one_query_and_unusable_rows_are_not_found_and_logged(
    catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    image_ids = [f"image-{n}" for n in range(200)]
    rows = [ImageRow(image_id, None, f"{image_id}.png") for image_id in image_ids]
    rows += [ImageRow("odd", None, "a/.."), ImageRow("lost", None, "a", bucket="evil/x")]
    rows += [ImageRow("far", None, "far.png", bucket="eu-1250000001", region="eu-frankfurt")]
    await asyncio.to_thread(table.put, rows)
    found = (await catalog.fetch_rows([*image_ids, "unknown", "cat", "far", "odd", "lost"])).records
    assert found.keys() == {*image_ids, "cat", "far"}
    assert (found["image-7"].key, found["cat"]) == ("image-7.png", RECORD)
    assert (found["far"].bucket, found["far"].region) == ("eu-1250000001", "eu-frankfurt")
    assert (queries(metrics, "found"), queries(metrics, "unusable")) == (1, 2)
    assert "image_id=odd" in caplog.text
    assert (await catalog.fetch_rows([])).records == {}


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
async def test_table_and_columns_are_configurable(
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
        assert (await catalog.fetch_rows(["0" + image_id, "not-an-id", "9" * 30])).records == {}
        assert await catalog.sample_images() == [record]
    finally:
        await asyncio.to_thread(images_table.execute, drop)


SHOP = """
CREATE TYPE visibility AS ENUM ('open', 'draft');
CREATE TABLE products (id int, path text, shown visibility, state text, deleted timestamptz);
INSERT INTO products VALUES (1, 'a.png', 'open', 'ready', NULL), (2, 'b.png', 'draft', 'sold out', NULL),
    (3, 'c.png', NULL, 'ready', NULL), (4, 'd.png', 'open', NULL, NULL),
    (5, 'e.png', 'open', 'ready', now()), (6, '', 'open', 'ready', NULL)
"""


async def test_values_of_columns_say_what_is_public_and_what_is_served(
    open_one: OpenCatalog, images_table: ImagesTable
) -> None:
    drop = "DROP TABLE IF EXISTS products; DROP TYPE IF EXISTS visibility"
    await asyncio.to_thread(images_table.execute, f"{drop}; {SHOP}")
    columns: dict[str, object] = dict.fromkeys(["owner", "bucket", "region", "content_type", "status"])
    columns |= {"key": "path", "public": "shown", "status": "state", "deleted_at": "deleted"}
    settings = {"table": "products", "key_prefix": "media/'%s/", "active_values": ["ready", "sold out"]}
    ids = [str(number) for number in range(1, 7)]
    try:
        catalog = await open_one(**settings, columns=columns, public_values=["open"])
        found = (await catalog.fetch_rows(ids)).records
        assert {image_id: record.public for image_id, record in found.items()} == {"1": True, "2": False, "3": False}
        assert found["1"].key == "media/'%s/a.png"
        assert {record.image_id for record in await catalog.random_images(9)} == {"1", "2", "3"}
        no_status, deleted = await catalog.inspect("4"), await catalog.inspect("5")
        assert no_status is not None
        assert no_status.reason == "its status is NULL, and not ready or sold out"
        assert deleted is not None
        assert (deleted.reason or "").startswith("it was deleted: deleted is 20")
        for is_public in (True, False):
            constant = await open_one(**settings, columns=columns | {"public": is_public})
            assert {record.public for record in (await constant.fetch_rows(ids)).records.values()} == {is_public}
    finally:
        await asyncio.to_thread(images_table.execute, drop)


@pytest.fixture
async def changing(open_one: OpenCatalog, images_table: ImagesTable) -> AsyncIterator[tuple[PostgresCatalog, Execute]]:
    """A catalog on a separate table, named ``changing``, and a function that runs SQL there."""
    columns = {**dict.fromkeys(["owner", "bucket", "region", "content_type", "public", "status"]), "key": "key"}

    async def execute(sql: str) -> None:
        await asyncio.to_thread(images_table.execute, sql)

    await execute("DROP TABLE IF EXISTS changing; CREATE TABLE changing (id integer, key text)")
    yield await open_one(table="changing", columns=columns), execute
    await execute("DROP TABLE changing")


async def test_an_altered_table_is_read_again_after_one_error(changing: tuple[PostgresCatalog, Execute]) -> None:
    catalog, execute = changing
    await execute("ALTER TABLE changing ALTER id TYPE text; INSERT INTO changing VALUES ('42', '42.png')")
    assert await catalog.fetch("42") is not None
    await execute("ALTER TABLE changing ALTER id TYPE integer USING id::integer")
    with pytest.raises(CatalogUnavailable):
        await catalog.fetch("42")
    assert await catalog.fetch("42") is not None


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
    assert (await catalog.fetch_rows(["42", "3000000000", "not-an-id"])).records.keys() == {"42", "3000000000"}


async def test_ids_in_a_column_of_char_n_are_found(changing: tuple[PostgresCatalog, Execute]) -> None:
    catalog, execute = changing
    await execute("ALTER TABLE changing ALTER id TYPE char(12) USING id::char(12)")
    await execute("INSERT INTO changing VALUES ('abc', 'short.png'), ('abcdefghijkl', 'whole.png')")
    found = (await catalog.fetch_rows(["abc", "abcdefghijkl", "a"])).records
    assert {image_id: record.key for image_id, record in found.items()} == {
        "abc": "short.png",
        "abcdefghijkl": "whole.png",
    }


@pytest.mark.parametrize(
    ("damage", "repair"),
    [
        ("RENAME key TO path", "RENAME path TO key"),
        ("RENAME TO elsewhere", None),
        ("ALTER id TYPE integer[] USING ARRAY[id]", "ALTER id TYPE integer USING id[1]"),
    ],
)
async def test_the_probe_fails_if_the_query_of_requests_fails(
    changing: tuple[PostgresCatalog, Execute], damage: str, repair: str | None
) -> None:
    catalog, execute = changing
    await catalog.try_query()
    await execute(f"ALTER TABLE changing {damage}")
    with pytest.raises(CatalogQueryRefused):
        await catalog.try_query()
    await execute(f"ALTER TABLE changing {repair}" if repair else "ALTER TABLE elsewhere RENAME TO changing")
    await catalog.try_query()


async def test_random_images_are_of_servable_rows_and_count_nothing(
    catalog: PostgresCatalog, table: ImagesTable, metrics: Metrics
) -> None:
    rows = [ImageRow(f"dog-{number}", None, "d.png") for number in range(30)]
    rows += [ImageRow("gone", None, "g.png", status="deleted"), ImageRow("none", None, "..")]
    await asyncio.to_thread(table.put, rows)
    drawn = [{image.image_id for image in await catalog.random_images(20)} for _ in range(2)]
    assert all(len(ids) >= 19 for ids in drawn)
    assert drawn[0] != drawn[1]
    assert {image.image_id for image in await catalog.random_images(100)} == {
        "cat",
        *(f"dog-{number}" for number in range(30)),
    }
    assert queries(metrics, "unusable") == 0


async def test_random_images_of_a_large_table_are_of_random_pages_and_of_a_view_of_its_first_rows(
    open_one: OpenCatalog, catalog: PostgresCatalog, table: ImagesTable
) -> None:
    """The size is an estimate: where the pages have no row, the first rows are used."""
    await asyncio.to_thread(table.execute, "UPDATE pg_class SET reltuples = 1e9 WHERE oid = 'images'::regclass")
    await asyncio.to_thread(table.execute, "CREATE VIEW seen AS SELECT * FROM images")
    try:
        for read in (catalog, await open_one(table="seen")):
            assert [image.image_id for image in await read.random_images(20)] == ["cat"]
    finally:
        await asyncio.to_thread(table.execute, "DROP VIEW seen; ANALYZE images")


async def test_the_sample_has_an_image_of_each_bucket(catalog: PostgresCatalog, images_table: ImagesTable) -> None:
    assert await catalog.sample_images() == []
    await catalog.try_query()
    rows = [ROW]
    rows += [ImageRow(f"dog-{number}", None, "d.png", bucket="dogs-1250000000") for number in range(3)]
    rows += [ImageRow("far", None, "f.png", bucket="dogs-1250000000", region="ap-beijing")]
    rows += [ImageRow("gone", None, "g.png", bucket="gone-1250000000", status="deleted")]
    await asyncio.to_thread(images_table.put, rows)
    sampled = {(image.bucket, image.region) for image in await catalog.sample_images()}
    assert sampled == {
        (BUCKET, "ap-guangzhou"),
        ("dogs-1250000000", "ap-guangzhou"),
        ("dogs-1250000000", "ap-beijing"),
    }


async def test_without_notifications_rows_are_read_where_the_dsn_leads(
    open_one: OpenCatalog, table: ImagesTable, postgres_dsn: str
) -> None:
    """No row is ever known to have changed, so any position of a standby will do."""
    assert await (await open_one(listen=False, listen_dsn=postgres_dsn)).fetch("cat") == RECORD
