"""The SQL files of ``config/sql`` with the configured names, for an operator to run once."""

import re
from collections.abc import Iterable
from importlib.resources import files

from psycopg2.extensions import parse_dsn

from gateway.catalog.query import quoted_table
from gateway.catalog.triggers import WatchedTable, names_of, watched_tables
from gateway.settings import CanaryRowSettings, ColumnSettings, PostgresSettings

_COLUMN = re.compile(r'^    "(\w+)" (.+?),?$', flags=re.MULTILINE)


def changes_sql(settings: PostgresSettings) -> str:
    """Return the triggers that notify replicas when a column that the gateway reads changes, in one transaction."""
    before, begin, rest = _packaged("changes.sql").partition("DO $install$\n")
    block, end, after = rest.partition("$install$;\n")
    blocks = [_named(begin + block + end, table) for table in watched_tables(settings)]
    return before + "\n".join(blocks) + after


def canary_sql(settings: PostgresSettings, change: CanaryRowSettings) -> str:
    """Return the function that gives the canary's own row its other key, for the user of ``postgres.dsn``."""
    values = (
        ("table_name CONSTANT text", quoted_table(settings.table)),
        ("id_column CONSTANT text", settings.columns.id),
        ("key_column CONSTANT text", settings.columns.key),
        ("image_id CONSTANT text", change.id),
        ("first_key CONSTANT text", change.keys[0]),
        ("second_key CONSTANT text", change.keys[1]),
        ("caller CONSTANT text", parse_dsn(settings.dsn.get_secret_value()).get("user", "gateway").replace("'", "''")),
    )
    return _with_values(_packaged("canary.sql"), values)


def _named(block: str, table: WatchedTable) -> str:
    """Return the block that installs a trigger, with the names of a table."""
    values = (
        ("table_name CONSTANT text", table.quoted),
        ("id_column CONSTANT text", table.id_column),
        ("watched CONSTANT text[]", f"{{{','.join(table.columns)}}}"),
        ("events CONSTANT text", " OR ".join(names_of(table.events))),
        ("may_be_view CONSTANT boolean", str(table.may_be_view).lower()),
    )
    return _with_values(block, values)


def _with_values(block: str, values: Iterable[tuple[str, str]]) -> str:
    for variable, value in values:
        # The settings allow letters, digits and _ in names, and no quotes in keys: nothing needs escaping.
        before, *places = re.split(rf"(?<={re.escape(variable)} := )'[^']*'", block)
        if len(places) != 1:
            raise AssertionError(f"the SQL has {len(places)} places for {variable}")
        block = f"{before}'{value}'{places[0]}"
    return block


def links_sql() -> str:
    """Return the gateway's own table, which counts how often the links of an image were killed."""
    return _packaged("links.sql")


def images_sql(settings: PostgresSettings) -> str:
    """Return a table of images with the configured names, for an application that has none yet."""
    sql = _packaged("images.example.sql")
    configured = settings.columns.names
    names = {default: configured.get(field) for field, default in ColumnSettings().names.items()}
    definitions = [f'    "{names[column]}" {rest}' for column, rest in _COLUMN.findall(sql) if names[column]]
    head, _, tail = sql.partition('CREATE TABLE IF NOT EXISTS "images" (\n')
    end = tail[tail.index("\n);") :]
    table = quoted_table(settings.table)
    return f"{head}CREATE TABLE IF NOT EXISTS {table} (\n" + ",\n".join(definitions) + end


def _packaged(name: str) -> str:
    """Return the package's copy of a file of ``config/sql``."""
    return files("gateway.catalog").joinpath("sql", name).read_text(encoding="utf-8")
