"""``gateway sql`` in a separate process."""

import pytest

from gateway_dev.postgres_server import find_postgres
from tests.commands.conftest import WriteConfig, said
from tests.processes import run_gateway, run_program


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("changes", ['table_name CONSTANT text := \'"app"."pictures"\'', "id_column CONSTANT text := 'nr'"]),
        ("links", ["CREATE TABLE IF NOT EXISTS image_gateway_links"]),
        (
            "canary",
            [
                "image_id CONSTANT text := 'c'",
                "second_key CONSTANT text := 'c/2.png'",
                "id_column CONSTANT text := 'nr'",
            ],
        ),
        ("images", ['CREATE TABLE IF NOT EXISTS "app"."pictures"', '"nr" text PRIMARY KEY']),
    ],
)
async def test_sql_for_the_configured_table_is_printed_as_one_transaction(
    write_config: WriteConfig, name: str, words: list[str]
) -> None:
    change = {"id": "c", "keys": ["c/1.png", "c/2.png"]}
    canary = {"via": ["https://a.example"], "public": "a", "private": "b", "change": change}
    config = write_config(postgres={"table": "app.pictures", "columns": {"id": "nr"}}, canary=canary)
    code, output = await run_gateway("sql", name, "--config", str(config))
    assert (code, output) == await run_gateway("sql", "--config", str(config), name)
    assert code == 0
    assert all(word in output for word in words)
    statements = [line for line in output.splitlines() if line and not line.startswith("--")]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")


async def test_psql_fails_if_no_sql_could_be_printed(postgres_dsn: str) -> None:
    """psql takes an empty input for a success."""
    output = await said(2, "sql", "changes")
    assert output.startswith("postgres.dsn: "), "the mistakes are printed as for other commands"
    psql = (str(find_postgres() / "psql"), postgres_dsn, "--quiet", "-v", "ON_ERROR_STOP=1", "-c")
    printed = await run_program(*psql, output.splitlines()[-1], "-c", "SELECT 'it went on'")
    assert "the configuration cannot be used" in printed
    assert "it went on" not in printed
