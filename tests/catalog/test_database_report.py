"""Findings about grants, columns and triggers, on a real Postgres."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.catalog.change_feed import CHANNEL, TEST_PREFIX
from gateway.catalog.database_report import DatabaseReport, time_notification
from gateway.catalog.postgres import CatalogQueryRefused, PostgresCatalog, open_catalog
from gateway.catalog.query import CatalogQuery
from gateway.catalog.sql_files import changes_sql
from gateway.errors import CatalogUnavailable, DependencyDegraded
from gateway.service.metrics import Metrics
from gateway.settings import PostgresSettings
from gateway_dev.database import ImageRow, ImagesTable
from tests.catalog.test_change_feed import Changes, listening
from tests.conftest import BUCKET
from tests.waiting import until

GRANTS = {"table": "shares", "image": "picture", "user": "viewer", "until": "ends"}
SHARES = "CREATE TABLE shares (picture {}, viewer text, ends {})"
INDEX = "CREATE INDEX ON shares (picture)"
MANY = "INSERT INTO shares SELECT 'cat', n, NULL FROM generate_series(1, {}) n"
NAMED = "ALTER TABLE images ADD name text, ADD gone_at timestamptz; CREATE UNIQUE INDEX ON images (name)"
ZONE = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I {}', current_database()); END $$"
PACIFIC = ZONE.format("SET timezone = ''America/Los_Angeles''")
SET_UTC = "run as the gateway's user, with the zone of the application: ALTER ROLE CURRENT_USER SET timezone = 'UTC'"
ENDED = "INSERT INTO shares VALUES ('cat', 'zoe', now() - interval '1 day')"


def settings_for(dsn: str, **changes: Any) -> PostgresSettings:
    """Return the settings for a database."""
    return PostgresSettings.model_validate({"dsn": dsn, "timeout": 30, **changes})


def opened(settings: PostgresSettings, *, with_links: bool = False) -> AbstractAsyncContextManager[PostgresCatalog]:
    """Open a catalog."""
    return open_catalog(settings, default_bucket=BUCKET, regions={}, metrics=Metrics().catalog, with_links=with_links)


async def report_of(settings: PostgresSettings, *, with_links: bool = False) -> DatabaseReport:
    async with opened(settings, with_links=with_links) as catalog:
        return await catalog.report()


@pytest.fixture
def app_schema(made_table: ImagesTable, postgres_dsn: str) -> Iterator[str]:
    """The DSN of a role without any grant; its table is app.pictures."""
    made_table.execute(
        "CREATE SCHEMA app; CREATE TABLE app.pictures (LIKE images); CREATE ROLE reader LOGIN PASSWORD 'reader'"
    )
    yield make_dsn(postgres_dsn, user="reader", password="reader")
    made_table.execute("DROP SCHEMA app CASCADE; DROP OWNED BY reader; DROP ROLE reader")


async def test_missing_grants_are_named_one_by_one(app_schema: str, made_table: ImagesTable) -> None:
    settings = settings_for(app_schema, table="app.pictures", listen=False)
    report = await report_of(settings)
    assert report.repairs == (
        'GRANT USAGE ON SCHEMA "app" TO "reader"',
        'GRANT SELECT ON "app"."pictures" TO "reader"',
    )
    for statement in report.repairs:
        await asyncio.to_thread(made_table.execute, statement)
        left = (await report_of(settings)).repairs
        assert statement not in left
    assert left == ()


async def test_a_role_that_may_not_connect_is_granted_it_by_the_repair(
    app_schema: str, made_table: ImagesTable
) -> None:
    database = parse_dsn(app_schema)["dbname"]
    await asyncio.to_thread(made_table.execute, f'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC')
    try:
        report = await report_of(settings_for(app_schema))
        assert report.table_problem == f"reader may not connect to {database}"
        assert report.repairs == (f'GRANT CONNECT ON DATABASE "{database}" TO "reader"',)
        await asyncio.to_thread(made_table.execute, report.repairs[0])
        report = await report_of(settings_for(app_schema))
        assert report.table_problem != f"reader may not connect to {database}"
    finally:
        await asyncio.to_thread(made_table.execute, f'GRANT CONNECT ON DATABASE "{database}" TO PUBLIC')


async def test_a_table_outside_of_the_search_path_is_named_and_another_of_the_same_name_unless_the_schema_is_configured(
    app_schema: str, made_table: ImagesTable, postgres_dsn: str
) -> None:
    del app_schema
    report = await report_of(settings_for(postgres_dsn, table="pictures"))
    assert report.table_problem == "the table is in the schema app: set postgres.table to app.pictures"
    await asyncio.to_thread(made_table.execute, "CREATE TABLE app.images (LIKE images)")
    report = await report_of(settings_for(postgres_dsn))
    assert report.path_problem == "the search path leads to public.images; there is also app.images"
    report = await report_of(settings_for(postgres_dsn, table="public.images"))
    assert report.path_problem is None


@pytest.mark.parametrize(
    ("policies", "hides_rows"),
    [
        ([], True),
        (["FOR SELECT USING (is_public)"], True),
        (["FOR SELECT USING (is_public)", "USING (true)"], False),
        (["FOR UPDATE USING (true)"], True),
        (["FOR SELECT TO other USING (true)"], True),
        (["USING (true)", "AS RESTRICTIVE FOR SELECT TO reader USING (is_public)"], True),
        (["USING (true)", "AS RESTRICTIVE TO other USING (is_public)"], False),
    ],
)
async def test_row_level_security_is_a_problem_unless_a_policy_shows_every_row(
    app_schema: str, made_table: ImagesTable, policies: list[str], hides_rows: bool
) -> None:
    statements = ["CREATE ROLE other", "GRANT USAGE ON SCHEMA app TO reader", "GRANT SELECT ON app.pictures TO reader"]
    statements += ["ALTER TABLE app.pictures ENABLE ROW LEVEL SECURITY"]
    statements += [f"CREATE POLICY p{number} ON app.pictures {policy}" for number, policy in enumerate(policies)]
    await asyncio.to_thread(made_table.execute, "; ".join(statements))
    try:
        settings = settings_for(app_schema, table="app.pictures", listen=False)
        (table,) = (await report_of(settings)).tables
        assert (table.problem is not None) == hides_rows
    finally:
        await asyncio.to_thread(made_table.execute, "DROP OWNED BY other; DROP ROLE other")


@pytest.mark.parametrize(
    ("owner", "views", "user"),
    [
        (None, [], "reader"),
        ("writer", ["CREATE VIEW app.seen AS SELECT * FROM app.pictures"], "writer"),
        (
            "writer",
            ["CREATE VIEW app.inner AS SELECT * FROM app.pictures", "CREATE VIEW app.seen AS SELECT * FROM app.inner"],
            "writer",
        ),
        ("writer", ["CREATE VIEW app.seen WITH (security_invoker) AS SELECT * FROM app.pictures"], "reader"),
        (None, ["CREATE VIEW app.seen AS SELECT * FROM app.pictures"], None),
    ],
    ids=["without a view", "as its owner", "of a view", "as the user", "as a superuser"],
)
async def test_row_level_security_behind_a_view_is_a_problem_for_the_user_who_reads_the_table(
    app_schema: str, made_table: ImagesTable, owner: str | None, views: list[str], user: str | None
) -> None:
    statements = ["CREATE ROLE writer", "GRANT USAGE ON SCHEMA app TO reader, writer", *views]
    statements += ["GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader, writer"]
    if owner is not None:
        statements += [f"ALTER VIEW {view.split()[2]} OWNER TO {owner}" for view in views]
    statements += ["ALTER TABLE app.pictures ENABLE ROW LEVEL SECURITY"]
    await asyncio.to_thread(made_table.execute, "; ".join(statements))
    try:
        settings = settings_for(app_schema, table="app.seen" if views else "app.pictures", listen=False)
        (table,) = (await report_of(settings)).tables
        if user is None:
            assert table.problem is None
            return
        assert (
            table.problem == f"row level security may hide rows of app.pictures from {user}, as if they did not exist"
        )
        await asyncio.to_thread(made_table.execute, table.repair)
        (table,) = (await report_of(settings)).tables
        assert table.problem is None
    finally:
        await asyncio.to_thread(made_table.execute, "DROP OWNED BY writer CASCADE; DROP ROLE writer")


async def test_row_level_security_on_the_grants_is_a_problem(app_schema: str, made_table: ImagesTable) -> None:
    statements = ["CREATE TABLE app.shares (picture text, viewer text, ends timestamptz)"]
    statements += ["GRANT USAGE ON SCHEMA app TO reader", "GRANT SELECT ON ALL TABLES IN SCHEMA app TO reader"]
    statements += ["ALTER TABLE app.shares ENABLE ROW LEVEL SECURITY"]
    statements += ["CREATE INDEX ON app.shares (picture)", "REVOKE SELECT ON app.shares FROM reader"]
    statements += ["GRANT SELECT (picture, viewer, ends) ON app.shares TO reader"]
    statements += ["ALTER TABLE app.shares ADD note text"]
    await asyncio.to_thread(made_table.execute, "; ".join(statements))
    grants = GRANTS | {"table": "app.shares"}
    settings = settings_for(app_schema, table="app.pictures", grants=grants, listen=False)
    assert not (await report_of(settings)).mistakes
    images, shares = (await report_of(settings)).tables
    assert (images.problem, shares.hidden) == (None, ["app.shares", "reader"])
    async with opened(settings) as catalog:
        with pytest.raises(DependencyDegraded, match=r"app\.shares"):
            await catalog.probe()


async def test_grants_in_a_schema_that_may_not_be_used_are_named(app_schema: str, made_table: ImagesTable) -> None:
    statements = ["GRANT USAGE ON SCHEMA app TO reader", "GRANT SELECT ON app.pictures TO reader"]
    statements += ["CREATE SCHEMA other", "CREATE TABLE other.shares (picture text, viewer text, ends timestamptz)"]
    await asyncio.to_thread(made_table.execute, "; ".join(statements))
    try:
        grants = GRANTS | {"table": "other.shares"}
        report = await report_of(settings_for(app_schema, table="app.pictures", grants=grants, listen=False))
        [mistake] = report.mistakes
        assert mistake.breaks_query
        assert mistake.problem == "postgres.grants: permission denied for schema other"
    finally:
        await asyncio.to_thread(made_table.execute, "DROP SCHEMA other CASCADE")


async def test_a_sample_of_rows_reads_no_grants(postgres_dsn: str, made_table: ImagesTable) -> None:
    """They may be many for each row, and take longer than Postgres is waited for."""
    await asyncio.to_thread(made_table.execute, "DELETE FROM images")
    view = "SELECT id AS picture, user_id AS viewer, now() AS ends FROM images WHERE pg_sleep(2) IS NOT NULL"
    await asyncio.to_thread(made_table.execute, f"CREATE VIEW slow AS {view}")
    try:
        await asyncio.to_thread(made_table.put, [ImageRow(name, None, name, BUCKET, "here") for name in ("a", "b")])
        async with opened(settings_for(postgres_dsn, grants=GRANTS | {"table": "slow"})) as catalog:
            assert len(await catalog.sample_images()) == 1
            assert len(await catalog.random_images(2)) == 2
    finally:
        await asyncio.to_thread(made_table.execute, "DROP VIEW slow; DELETE FROM images")


async def test_a_missing_table_or_column_is_named_and_a_table_as_dev_creates_it_has_no_problem(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    del made_table
    report = await report_of(settings_for(postgres_dsn))
    assert (report.table_problem, report.repairs) == (None, ())
    assert ", database " in report.address
    report = await report_of(settings_for(postgres_dsn, table="nowhere"))
    assert report.table_problem == "there is no table nowhere in this database"
    report = await report_of(settings_for(postgres_dsn, columns={"key": "path"}))
    assert (report.table_problem or "").endswith("has no column path")


@pytest.mark.parametrize(
    ("sql", "changes", "problem", "remedy"),
    [
        ("", {}, "", ""),
        (
            "ALTER TABLE images ALTER is_public DROP DEFAULT, ALTER is_public TYPE text",
            {},
            "postgres.columns.public: the column is_public is not boolean",
            "list the values that mean public in postgres.public_values",
        ),
        ("ALTER TABLE images ALTER is_public TYPE text", {"public_values": ["true"]}, "", ""),
        (
            "",
            {"grants": GRANTS},
            'postgres.grants: relation "shares" does not exist',
            "check the names in postgres.grants",
        ),
        (
            SHARES.format("bigint", "timestamptz"),
            {"grants": GRANTS},
            "postgres.grants: operator does not exist: bigint = text",
            "give the column of postgres.grants.image the type of postgres.columns.id",
        ),
        (
            SHARES.format("text", "timestamptz"),
            {"grants": GRANTS | {"user": "reader"}},
            "postgres.grants: column granted.reader does not exist",
            "check the names in postgres.grants",
        ),
        (
            SHARES.format("text", "timestamptz"),
            {"grants": GRANTS},
            "postgres.grants: no index of shares begins with picture: each look-up reads all grants",
            'run: CREATE INDEX CONCURRENTLY ON "shares" ("picture")',
        ),
        (
            f"{SHARES.format('varchar', 'timestamp')}; {INDEX}; {MANY.format(1000)}; {ENDED}",
            {"grants": GRANTS},
            "",
            "",
        ),
        (
            f"{SHARES.format('text', 'timestamptz')}; {INDEX}; {MANY.format(1001)}",
            {"grants": GRANTS},
            "the image cat has more than 1000 grants, and is for its owner alone",
            "grant such images to a group, or make them public (postgres.grants)",
        ),
        (
            f"{SHARES.format('text', 'timestamp')}; {INDEX}; {PACIFIC}",
            {"grants": GRANTS},
            "postgres.grants.until: ends has no time zone, and counts as America/Los_Angeles",
            f"{SET_UTC}; then restart the gateways",
        ),
        (
            "ALTER TABLE images ADD name uuid",
            {"columns": {"alias": "name"}},
            "postgres.columns.alias: the column name is no text, and each /a/ address fails",
            "name a column of text",
        ),
        (
            "ALTER TABLE images ADD name char(12); CREATE UNIQUE INDEX ON images (name)",
            {"columns": {"alias": "name"}},
            "postgres.columns.alias: the column name is character, and each look-up reads the table",
            "name a column of text",
        ),
        (
            "ALTER TABLE images ADD name text",
            {"columns": {"alias": "name"}},
            "postgres.columns.alias: no index of pictures begins with name: each look-up reads the table",
            'run: CREATE INDEX CONCURRENTLY ON "pictures" ("name")',
        ),
        (
            f"{NAMED} WHERE is_public",
            {"columns": {"alias": "name"}},
            "postgres.columns.alias: no index of pictures begins with name: each look-up reads the table",
            'run: CREATE INDEX CONCURRENTLY ON "pictures" ("name")',
        ),
        (
            f"{NAMED} WHERE gone_at IS NULL",
            {"columns": {"alias": "name", "deleted_at": "gone_at"}},
            "",
            "",
        ),
        (f"{NAMED} WHERE name IS NOT NULL", {"columns": {"alias": "name"}}, "", ""),
        (
            f"{NAMED} WHERE gone_at IS NULL AND name IS NOT NULL",
            {"columns": {"alias": "name", "deleted_at": "gone_at"}},
            "",
            "",
        ),
    ],
)
async def test_a_setting_that_does_not_fit_the_tables_is_named_with_its_remedy(
    postgres_dsn: str, made_table: ImagesTable, sql: str, changes: dict[str, Any], problem: str, remedy: str
) -> None:
    settings = settings_for(postgres_dsn, table="pictures", **changes)
    await asyncio.to_thread(made_table.execute, "CREATE TABLE pictures (LIKE images)")
    try:
        if sql:
            await asyncio.to_thread(made_table.execute, sql.replace("images", "pictures"))
        async with opened(settings) as catalog:
            report = await catalog.report()
            try:
                await catalog.try_query()
                is_refused = False
            except CatalogQueryRefused:
                is_refused = True
    finally:
        reset = ZONE.format("RESET timezone")
        await asyncio.to_thread(made_table.execute, f"DROP TABLE pictures; DROP TABLE IF EXISTS shares; {reset}")
    assert [found.problem for found in report.mistakes] == ([problem] if problem else [])
    assert [found.remedy.startswith(remedy) for found in report.mistakes] == ([True] if problem else [])
    assert is_refused == any(found.breaks_query for found in report.mistakes)


def test_a_look_up_by_alias_uses_an_index_of_the_rows_that_are_not_deleted(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    columns = {"alias": "name", "deleted_at": "gone_at"}
    query = CatalogQuery(settings_for(postgres_dsn, table="pictures", columns=columns), BUCKET, {})
    index = f"{NAMED} WHERE gone_at IS NULL".replace("images", "pictures")
    made_table.execute(f"CREATE TABLE pictures (LIKE images); {index}")
    try:
        with closing(psycopg2.connect(postgres_dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET enable_seqscan = off; EXPLAIN {query.by_alias} = ANY('{{x}}'::text[])")
            assert "pictures_name_idx" in str(cursor.fetchall())
    finally:
        made_table.execute("DROP TABLE pictures")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DROP TRIGGER image_gateway_changed ON {}", "no trigger on {} notifies of changes"),
        (
            "ALTER TABLE {} DISABLE TRIGGER image_gateway_changed",
            "no trigger on {} notifies of changes after UPDATE and DELETE: it is disabled",
        ),
        (
            (
                "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_notify('image_gateway', OLD.\"cos_key\"::text); RETURN NULL; END $$; "
                "DROP TRIGGER image_gateway_changed ON {}; "
                "CREATE TRIGGER tell AFTER UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION tell()"
            ),
            "the trigger sends cos_key, and the configured id of {} is id",
        ),
        (
            (
                "ALTER TABLE {} DROP COLUMN is_public; "
                "ALTER TABLE {} ADD is_public boolean GENERATED ALWAYS AS (length(cos_key) > 0) VIRTUAL"
            ),
            "the trigger sees no value of is_public of {}: a virtual column must be STORED",
        ),
        ("", "the trigger does not watch mime_type"),
        (None, None),
    ],
)
async def test_a_trigger_that_misses_changes_is_named(
    postgres_dsn: str, made_table: ImagesTable, sql: str | None, problem: str | None
) -> None:
    table = "watched"
    settings = settings_for(postgres_dsn, table=table)
    installed = settings if sql != "" else settings_for(postgres_dsn, table=table, columns={"content_type": None})
    await asyncio.to_thread(made_table.execute, f"CREATE TABLE {table} (LIKE images)")
    try:
        await asyncio.to_thread(lambda: made_table._run(changes_sql(installed)))
        if sql:
            await asyncio.to_thread(made_table.execute, sql.replace("{}", table))
        async with opened(settings) as catalog:
            [found] = [report.problem for report in await catalog.triggers()]
    finally:
        await asyncio.to_thread(made_table.execute, f"DROP TABLE {table}; DROP FUNCTION IF EXISTS tell")
    assert (found or "").startswith((problem or "").replace("{}", table))
    assert (found is None) == (problem is None)


FILES = [{"table": "files", "id": "id"}]


@pytest.mark.parametrize(
    ("installed", "changes", "sql", "problems"),
    [
        ([], [], "", ["pictures is a view, which can have no trigger; postgres.changes must list tables behind it: "]),
        (
            [],
            [{"table": "nowhere", "id": "id"}],
            "",
            [
                "postgres.changes lists none of the tables behind the view pictures: public.files",
                "there is no table nowhere: check postgres.table, grants and changes",
            ],
        ),
        (
            FILES,
            [],
            "",
            ["pictures is a view: postgres.changes must list public.files behind it, whose trigger nothing"],
        ),
        ([], FILES, "", ["no trigger on files notifies of changes"]),
        (FILES, FILES, "", []),
        ([*FILES, {"table": "files", "id": "cos_key"}], [{"table": "files", "id": "cos_key"}], "", []),
        (FILES, [*FILES, {"table": "files", "id": "cos_key"}], "", ["the trigger sends id, and the configured id of "]),
        (
            FILES,
            FILES,
            "ALTER TABLE files DISABLE TRIGGER USER",
            ["no trigger on files notifies of changes after INSERT and UPDATE and DELETE: it is disabled"],
        ),
        (
            FILES,
            FILES,
            (
                "DROP TRIGGER image_gateway_changed ON files; CREATE TRIGGER changed AFTER UPDATE OR DELETE ON files "
                "FOR EACH ROW EXECUTE FUNCTION image_gateway_changed_files()"
            ),
            ["no trigger on files notifies of changes after INSERT: "],
        ),
        ([FILES[0] | {"watched": ["cos_key"]}], FILES, "", ["the trigger does not watch every column of files"]),
        (
            [FILES[0] | {"watched": ["cos_key"]}],
            [FILES[0] | {"watched": ["cos_key", "user_id"]}],
            "",
            ["the trigger does not watch user_id of files"],
        ),
    ],
)
async def test_the_tables_behind_a_view_are_watched_in_its_place(
    postgres_dsn: str,
    made_table: ImagesTable,
    installed: Sequence[Mapping[str, Any]],
    changes: Sequence[Mapping[str, Any]],
    sql: str,
    problems: Sequence[str],
) -> None:
    await asyncio.to_thread(
        made_table.execute,
        "CREATE TABLE files (LIKE images INCLUDING DEFAULTS); CREATE VIEW pictures AS SELECT * FROM files",
    )
    try:
        if installed:
            before = settings_for(postgres_dsn, table="pictures", changes=installed)
            await asyncio.to_thread(lambda: made_table._run(changes_sql(before)))
        if sql:
            await asyncio.to_thread(made_table.execute, sql)
        async with opened(settings_for(postgres_dsn, table="pictures", changes=changes)) as catalog:
            reports = await catalog.triggers()
    finally:
        await asyncio.to_thread(made_table.execute, "DROP VIEW pictures; DROP TABLE files")
    found = [report.problem for report in reports if report.problem is not None]
    assert [problem[: len(words)] for problem, words in zip(found, problems, strict=True)] == problems


async def test_a_trigger_that_was_installed_or_enabled_again_is_another_one(
    postgres_dsn: str, made_table: ImagesTable
) -> None:
    async with opened(settings_for(postgres_dsn)) as catalog:

        async def identity() -> Sequence[str]:
            [report] = await catalog.triggers()
            return report.identity

        seen = [await identity()]
        assert await identity() == seen[0]
        for change in (
            lambda: made_table._run(changes_sql(settings_for(postgres_dsn))),
            lambda: made_table.execute(
                "ALTER TABLE images DISABLE TRIGGER USER; ALTER TABLE images ENABLE TRIGGER USER"
            ),
        ):
            await asyncio.to_thread(change)
            seen.append(await identity())
    assert len(set(seen)) == 3


async def test_the_trigger_of_killed_links_is_looked_for(postgres_dsn: str, links_table: ImagesTable) -> None:
    settings = settings_for(postgres_dsn)
    assert (await report_of(settings, with_links=True)).links_problem is None
    disable = "ALTER TABLE image_gateway_links {} TRIGGER image_gateway_links_killed"
    await asyncio.to_thread(links_table.execute, disable.format("DISABLE"))
    try:
        report = await report_of(settings, with_links=True)
    finally:
        await asyncio.to_thread(links_table.execute, disable.format("ENABLE"))
    assert report.links_problem == "no trigger on image_gateway_links notifies of killed links"


async def test_a_test_notification_is_heard_and_no_replica_acts_on_it(postgres_dsn: str) -> None:
    changes = Changes()
    async with listening(postgres_dsn, changes):
        assert (await time_notification(settings_for(postgres_dsn)) or 99) < 30
        table = ImagesTable(postgres_dsn)
        await asyncio.to_thread(table.execute, "SELECT pg_notify(%s, %s)", CHANNEL, f"{TEST_PREFIX}x")
        await asyncio.to_thread(table.execute, "SELECT pg_notify(%s, 'cat')", CHANNEL)
        await until(lambda: changes.image_ids)
    assert changes.image_ids == ["cat"]


async def test_a_database_that_does_not_answer_is_unavailable_and_named() -> None:
    settings = settings_for("host=127.0.0.1 port=1", listen_dsn="host=127.0.0.2 port=1")
    with pytest.raises(CatalogUnavailable, match=r"^postgres\.dsn, 127\.0\.0\.1:1: Connection refused"):
        await report_of(settings)
    with pytest.raises(CatalogUnavailable, match=r"^postgres\.listen_dsn, 127\.0\.0\.2:1: Connection refused"):
        await time_notification(settings)
