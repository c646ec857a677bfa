"""Findings on a real Postgres: the query, the trigger, the table of killed links; and on what an inspection found."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import make_dsn

from gateway.catalog.database_report import DatabaseReport, FoundTable
from gateway.catalog.postgres import CatalogQueryRefused, open_catalog
from gateway.catalog.setting_mistakes import Mistake
from gateway.checks.database import DatabaseCheck, of_failed_query, of_tables
from gateway.findings.catalogue import known_remedy
from gateway.findings.finding import Finding
from gateway.service.metrics import Metrics
from gateway.settings import PostgresSettings
from gateway_dev.database import ImageRow, ImagesTable
from tests.conftest import BUCKET
from tests.pgbouncer import running_pgbouncer

ROW = ImageRow("cat", None, "cat.png", public=True)


async def findings(dsn: str, *, signs_links: bool = False, **changes: Any) -> dict[str, Finding]:
    """Return the findings by name, in their order."""
    settings = PostgresSettings.model_validate({"dsn": dsn, "timeout": 30, **changes})
    opening = open_catalog(
        settings,
        default_bucket=BUCKET,
        regions={BUCKET: "ap-guangzhou"},
        metrics=Metrics().catalog,
        with_links=signs_links,
    )
    async with opening as catalog:
        check = DatabaseCheck(catalog, settings, signs_links=signs_links)
        return {finding.where: finding async for finding in check.findings()}


async def test_a_table_that_works_comes_without_advice(postgres_dsn: str, links_table: ImagesTable) -> None:
    links_table.put([ROW])
    assert list(await findings(postgres_dsn)) == ["postgres", "changes"]
    found = await findings(postgres_dsn, signs_links=True)
    assert list(found) == ["postgres", "changes", "signed_links"]
    assert all(finding.is_well and not finding.advice for finding in found.values())
    assert "the row cat was read" in found["postgres"].what


async def test_a_table_without_a_servable_row_fails_and_a_gateway_that_does_not_listen_needs_no_trigger(
    postgres_dsn: str, images_table: ImagesTable
) -> None:
    del images_table
    found = await findings(postgres_dsn, listen=False)
    assert [name for name, finding in found.items() if not finding.is_well] == ["postgres"]
    assert "no active image" in found["postgres"].what
    assert (found["changes"].is_well, found["changes"].advice) == (True, "")


async def test_postgres_that_does_not_answer_is_asked_for_nothing_else() -> None:
    [found] = (await findings("host=127.0.0.1 port=1", signs_links=True)).values()
    assert (found.where, found.is_well, found.stops_start) == ("postgres", False, False)
    assert "postgres.dsn" in found.advice


async def test_changes_that_a_pooler_or_a_wrong_address_loses_fail_the_check(
    postgres_dsn: str, images_table: ImagesTable, tmp_path: Path
) -> None:
    images_table.put([ROW])
    with running_pgbouncer(postgres_dsn, tmp_path / "pooler") as pooler:
        lost = (await findings(pooler.dsn))["changes"]
    refused = (await findings(postgres_dsn, listen_dsn="host=127.0.0.1 port=1"))["changes"]
    assert "pooler in transaction mode" in lost.advice
    assert refused.advice.startswith("check postgres.listen_dsn")
    for found, words in ((lost, "nobody passes notifications on"), (refused, "Connection refused")):
        assert (found.name, found.level) == ("changes_not_heard", "bad")
        assert words in found.what


async def test_killed_links_that_are_not_notified_are_a_warning_and_a_missing_table_stops_a_start(
    postgres_dsn: str, links_table: ImagesTable
) -> None:
    try:
        await asyncio.to_thread(links_table.execute, "ALTER TABLE image_gateway_links DISABLE TRIGGER USER")
        found = await findings(postgres_dsn, signs_links=True)
        assert [name for name, finding in found.items() if finding.level != "ok"] == ["postgres", "signed_links"]
        assert found["signed_links"].level == "warning"
        await asyncio.to_thread(links_table.execute, "DROP TABLE image_gateway_links")
        found = await findings(postgres_dsn, signs_links=True)
        assert [name for name, finding in found.items() if not finding.is_well] == ["postgres", "signed_links"]
        assert found["signed_links"].stops_start
        assert "config/sql/links.sql" in found["signed_links"].advice
    finally:
        await asyncio.to_thread(links_table.execute, "DROP TABLE IF EXISTS image_gateway_links")
        await asyncio.to_thread(links_table.create_links)


async def test_grants_that_cannot_be_read_stop_a_start(postgres_dsn: str, images_table: ImagesTable) -> None:
    """A sample of the rows reads none of them."""
    images_table.put([ROW])
    [found] = (await findings(postgres_dsn, grants={"table": "shares", "image": "id", "user": "viewer"})).values()
    assert (found.where, found.is_well, found.stops_start) == ("postgres", False, True)
    assert "postgres.grants" in found.advice


def report(**found: Any) -> DatabaseReport:
    """Return a report without problems, except ``found``."""
    nothing = {"table_problem": None, "repairs": (), "links_problem": None}
    return DatabaseReport("gateway at db:5432, database app", **(nothing | found))


def test_repairs_of_what_an_inspection_found_are_the_advice() -> None:
    inspected = report(table_problem="gateway may not read app.pictures", repairs=("GRANT USAGE ON SCHEMA app",))
    found = of_failed_query(inspected, CatalogQueryRefused("permission denied"))
    assert (found.is_well, found.stops_start, found.advice) == (False, True, "run: GRANT USAGE ON SCHEMA app")
    assert found.what.startswith("permission denied: gateway may not read app.pictures, as gateway at db:5432")
    fatal, other = Mistake("a", "list the values", breaks_query=True), Mistake("b", "CREATE INDEX")
    found = of_failed_query(report(mistakes=[other, fatal]), CatalogQueryRefused("COALESCE types"))
    assert (found.what, found.advice) == ("a, as gateway at db:5432, database app", "list the values")
    assert [(found.where, found.advice) for found in of_tables(report(mistakes=[other]))] == [
        ("settings", "CREATE INDEX")
    ]
    table = FoundTable("public.images", ("public.images", "reader"), others=("app.images",))
    hidden, ambiguous = of_tables(report(tables=[table], path_problem="the search path leads to public.images"))
    assert (hidden.where, hidden.level, hidden.advice) == ("rows", "warning", f"run: {table.repair}")
    assert (ambiguous.where, ambiguous.level) == ("table", "warning")
    assert "postgres.table" in ambiguous.advice


_WAITS = "a query waited for a lock: pid 7 (app) waits for AccessExclusiveLock of a, for which {} does not end, as b"


@pytest.mark.parametrize(
    ("place", "reason", "advice"),
    [
        ("postgres", "could not extend file: No space left on device", "the disk of Postgres is full"),
        ("postgres", "remaining connection slots are reserved", "raise max_connections"),
        ("postgres", "canceling statement due to statement timeout", "SET statement_timeout = 0"),
        ("postgres", "cannot execute NOTIFY during recovery", "leads to a standby"),
        ("postgres", "too many notifications in the NOTIFY queue", "end the session that listens"),
        ("postgres", "FATAL: password authentication failed for user a", "its user and password"),
        ("postgres", 'relation "images" does not exist, as a at b:1', "postgres.table"),
        ("postgres", _WAITS.format("pid 8 (app, idle for 9 s)"), "pg_terminate_backend(8)"),
        ("postgres", _WAITS.format("a prepared transaction"), "wait until that session ends, or end it"),
        ("changes", "no heartbeat came back: nobody passes notifications on", "a pooler in transaction mode"),
        ("changes", "no heartbeat was sent: FATAL: too many connections for role a", "raise max_connections"),
        ("changes", "no heartbeat came back for 15 s among the notifications", "check postgres.listen_dsn"),
    ],
)
def test_the_advice_is_that_of_the_cause(place: str, reason: str, advice: str) -> None:
    name = "dependency_down" if place == "postgres" else "changes_not_heard"
    assert advice in known_remedy(place, reason, name)


async def test_a_role_without_a_connection_left_is_told_its_limit_and_not_a_pooler(
    postgres_dsn: str, images_table: ImagesTable
) -> None:
    images_table.put([ROW])
    create = "CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1; GRANT SELECT ON images TO few"
    await asyncio.to_thread(images_table.execute, create)
    try:
        dsn = make_dsn(postgres_dsn, user="few", password="few")
        found = (await findings(dsn, pool_size=1))["changes"]
    finally:
        await asyncio.to_thread(images_table.execute, "DROP OWNED BY few; DROP ROLE few")
    assert "too many connections for role" in found.what
    assert "CONNECTION LIMIT" in found.advice
    assert "pooler" not in found.advice
