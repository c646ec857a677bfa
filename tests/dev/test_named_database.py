"""`gateway dev` with an existing database: it checks who made the tables before it writes into them."""

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from gateway_dev.database import ImagesTable
from tests.processes import gateway_process, run_gateway

pytestmark = [
    pytest.mark.xdist_group("dev"),  # dev prefers fixed ports
    pytest.mark.usefixtures("forked_commands"),
]

FOREIGN_TABLE = "CREATE TABLE images (id text PRIMARY KEY, user_id text, cos_key text NOT NULL)"


def select(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


async def error_of_dev(arguments: list[str], redis_url: str, variable: str, value: str) -> str:
    """Run dev, which must fail, and return its last line."""
    environment = {"GATEWAY_REDIS__URL": redis_url, variable: value}
    code, output = await run_gateway(*arguments, environment=environment)
    assert code == 1
    error = output.splitlines()[-1]
    assert error.startswith("Error: ")
    assert "Traceback" not in output
    return error


async def test_a_table_that_dev_did_not_create_is_not_changed(
    arguments: list[str], redis_url: str, own_dsn: str
) -> None:
    table = ImagesTable(own_dsn)
    table.execute(FOREIGN_TABLE)
    table.execute("INSERT INTO images VALUES ('a.gif', 'bob', 'theirs.gif')")
    error = await error_of_dev(arguments, redis_url, "GATEWAY_POSTGRES__DSN", own_dsn)
    assert "has a table images that dev did not create" in error
    assert select(own_dsn, "SELECT * FROM images") == [("a.gif", "bob", "theirs.gif")]
    assert select(own_dsn, "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'image_gateway%'") == []
    assert select(own_dsn, "SELECT to_regclass('image_gateway_links')") == [(None,)]


async def test_a_database_named_in_the_secrets_directory_is_checked_too(
    arguments: list[str], redis_url: str, own_dsn: str, tmp_path: Path
) -> None:
    ImagesTable(own_dsn).execute("CREATE VIEW images AS SELECT 1 AS id")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "postgres__dsn").write_text(own_dsn)
    error = await error_of_dev(arguments, redis_url, "GATEWAY_SECRETS_DIR", str(tmp_path / "secrets"))
    assert "has a table images that dev did not create" in error


async def test_a_table_of_killed_links_that_dev_did_not_create_is_not_changed(
    arguments: list[str], redis_url: str, own_dsn: str
) -> None:
    ImagesTable(own_dsn).execute("CREATE TABLE image_gateway_links (image_id text PRIMARY KEY, killed integer)")
    error = await error_of_dev(arguments, redis_url, "GATEWAY_POSTGRES__DSN", own_dsn)
    assert "has a table image_gateway_links that dev did not create" in error
    assert select(own_dsn, "SELECT to_regclass('images')") == [(None,)]


async def test_dev_uses_the_tables_that_it_created_again(arguments: list[str], redis_url: str, own_dsn: str) -> None:
    environment = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": own_dsn}
    for _ in range(2):
        async with gateway_process(*arguments, environment=environment) as running:
            assert select(own_dsn, "SELECT id, cos_key FROM images") == [("a.gif", "a.gif")]
            running.terminate()
            assert await running.exit_code() == 0


async def test_an_unreachable_database_is_reported_in_one_line(arguments: list[str], redis_url: str) -> None:
    dsn = "postgresql://u:hidden@127.0.0.1:1/app"
    error = await error_of_dev(arguments, redis_url, "GATEWAY_POSTGRES__DSN", dsn)
    assert "postgres.dsn" in error
    assert "Connection refused" in error
    assert "hidden" not in error
