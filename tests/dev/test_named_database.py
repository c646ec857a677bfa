"""`gateway dev` on a database that somebody has already: it writes there, so it looks first."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import make_dsn

from gateway.dev.database import ImageRow, ImagesTable
from tests.processes import gateway_process, run_gateway

pytestmark = pytest.mark.xdist_group("dev")  # the ports

THEIR_TABLE = "CREATE TABLE images (id text PRIMARY KEY, user_id text, cos_key text NOT NULL)"


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[str]:
    """The DSN of an empty database."""
    with closing(psycopg2.connect(postgres_dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE somebodys")
        yield make_dsn(postgres_dsn, dbname="somebodys")
        connection.cursor().execute("DROP DATABASE somebodys WITH (FORCE)")


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of dev, with a folder of one image."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.gif").write_bytes(b"GIF89a")
    return ["dev", "--images", str(tmp_path / "pictures"), "--state", str(tmp_path / "state")]


def look(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


async def refused(arguments: list[str], redis_url: str, variable: str, value: str) -> str:
    """The one line with which dev ends."""
    environment = {"GATEWAY_REDIS__URL": redis_url, variable: value}
    code, output = await run_gateway(*arguments, environment=environment)
    assert code == 1
    error = output.splitlines()[-1]
    assert error.startswith("Error: ")
    assert "Traceback" not in output
    return error


async def test_a_table_that_dev_did_not_make_is_left_as_it_is(
    arguments: list[str], redis_url: str, database: str
) -> None:
    theirs = ImagesTable(database)
    theirs.execute(THEIR_TABLE)
    theirs.execute("INSERT INTO images VALUES ('a.gif', 'bob', 'theirs.gif')")
    error = await refused(arguments, redis_url, "GATEWAY_POSTGRES__DSN", database)
    assert "has a table images that dev did not make" in error
    assert look(database, "SELECT * FROM images") == [("a.gif", "bob", "theirs.gif")]
    assert look(database, "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'image_gateway%'") == []
    assert look(database, "SELECT to_regclass('image_gateway_links')") == [(None,)]


async def test_a_database_named_in_the_secrets_directory_is_looked_at_too(
    arguments: list[str], redis_url: str, database: str, tmp_path: Path
) -> None:
    ImagesTable(database).execute("CREATE VIEW images AS SELECT 1 AS id")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "postgres__dsn").write_text(database)
    error = await refused(arguments, redis_url, "GATEWAY_SECRETS_DIR", str(tmp_path / "secrets"))
    assert "has a table images that dev did not make" in error


async def test_counts_of_killed_links_that_dev_did_not_make_are_nothing_to_write_into(
    arguments: list[str], redis_url: str, database: str
) -> None:
    ImagesTable(database).execute("CREATE TABLE image_gateway_links (image_id text PRIMARY KEY, killed integer)")
    error = await refused(arguments, redis_url, "GATEWAY_POSTGRES__DSN", database)
    assert "has a table image_gateway_links that dev did not make" in error
    assert look(database, "SELECT to_regclass('images')") == [(None,)]


async def test_what_dev_made_it_takes_again(arguments: list[str], redis_url: str, database: str) -> None:
    environment = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": database}
    for _ in range(2):
        async with gateway_process(*arguments, environment=environment) as running:
            assert look(database, "SELECT id, cos_key FROM images") == [("a.gif", "a.gif")]
            running.terminate()
            assert await running.exit_code() == 0


async def test_a_database_that_cannot_be_reached_is_told_in_a_line(arguments: list[str], redis_url: str) -> None:
    dsn = "postgresql://u:hidden@127.0.0.1:1/app"
    error = await refused(arguments, redis_url, "GATEWAY_POSTGRES__DSN", dsn)
    assert "postgres.dsn" in error
    assert "Connection refused" in error
    assert "hidden" not in error


async def test_a_slash_in_the_password_of_the_database_ends_the_start_with_one_line(
    arguments: list[str], redis_url: str
) -> None:
    environment = {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": "postgresql://u:hid/den@127.0.0.1:1/app"}
    code, output = await run_gateway(*arguments, environment=environment)
    assert code == 2
    assert output.splitlines()[-1].startswith("postgres.dsn: has a / or an @ in the user name or the password")
    assert "den@" not in output


async def test_a_table_that_was_altered_since_is_told_in_a_line(
    arguments: list[str], redis_url: str, database: str
) -> None:
    table = ImagesTable(database)
    await asyncio.to_thread(table.create)
    table.put([ImageRow("kept", "bob", "kept.gif")])
    table.execute("ALTER TABLE images DROP COLUMN mime_type CASCADE")
    error = await refused(arguments, redis_url, "GATEWAY_POSTGRES__DSN", database)
    assert "mime_type" in error
    assert look(database, "SELECT id FROM images") == [("kept",)]
