"""Tables that do not fit the gateway's query: it does not start, or reports the mismatch while it lasts."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from psycopg2.extensions import make_dsn

from gateway_dev.database import ImagesTable
from tests.processes import run_gateway

RawSettings = dict[str, dict[str, Any]]
LINKS = {"signed_links": {"keys": {"k1": "a-secret-of-at-least-thirty-two-bytes"}}}


@pytest.fixture
def own_dsn(postgres_dsn: str) -> Iterator[str]:
    """The DSN of a database that this test may spoil, with the table of images."""
    with closing(psycopg2.connect(postgres_dsn)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE spoiled")
        dsn = make_dsn(postgres_dsn, dbname="spoiled")
        ImagesTable(dsn).create()
        yield dsn
        connection.cursor().execute("DROP DATABASE spoiled WITH (FORCE)")
        connection.cursor().execute("DROP ROLE IF EXISTS reader")


@pytest.mark.parametrize(
    ("sql", "access", "words"),
    [
        ("ALTER TABLE images RENAME TO pictures", {}, "there is no table"),
        ("ALTER TABLE images RENAME cos_key TO path", {}, 'column "cos_key" does not exist'),
        ("SELECT 1", LINKS, 'relation "image_gateway_links" does not exist'),
        ("CREATE ROLE reader LOGIN PASSWORD 'reader'", {}, "permission denied for table images"),
    ],
    ids=["table", "column", "links", "grant"],
)
@pytest.mark.usefixtures("forked_commands")
async def test_serve_does_not_start_where_its_query_cannot_work_and_says_why(
    own_dsn: str, raw_settings: RawSettings, tmp_path: Path, sql: str, access: dict[str, Any], words: str
) -> None:
    await asyncio.to_thread(ImagesTable(own_dsn).execute, sql)
    dsn = make_dsn(own_dsn, user="reader", password="reader") if "reader" in sql else own_dsn
    settings = {**raw_settings, "postgres": {"dsn": dsn}, "access": {**raw_settings["access"], **access}}
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(settings))
    code, output = await run_gateway("serve", "--config", str(file))
    assert code == 1
    assert "Traceback" not in output
    error = output.splitlines()[-1]
    assert error.startswith("Error: the gateway cannot start: postgres: ")
    assert words in error
