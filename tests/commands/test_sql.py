"""``gateway sql`` in a separate process."""

import pytest

from tests.commands.conftest import WriteConfig
from tests.processes import run_gateway


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("changes", ['table_name CONSTANT text := \'"app"."pictures"\'', "id_column CONSTANT text := 'nr'"]),
        ("links", ["CREATE TABLE IF NOT EXISTS image_gateway_links"]),
        ("images", ['CREATE TABLE IF NOT EXISTS "app"."pictures"', '"nr" text PRIMARY KEY']),
    ],
)
async def test_sql_for_the_configured_table_is_printed_as_one_transaction(
    write_config: WriteConfig, name: str, words: list[str]
) -> None:
    config = write_config(postgres={"table": "app.pictures", "columns": {"id": "nr"}})
    code, output = await run_gateway("sql", name, "--config", str(config))
    assert code == 0
    assert all(word in output for word in words)
    statements = [line for line in output.splitlines() if line and not line.startswith("--")]
    assert (statements[0], statements[-1]) == ("BEGIN;", "COMMIT;")
