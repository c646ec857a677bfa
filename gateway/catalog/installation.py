"""SQL that an operator runs once, for the configured table and columns: the files of ``config/sql``, filled in."""

import re
from importlib.resources import files

from gateway.settings import ColumnSettings, PostgresSettings

_PSQL_COMMAND = re.compile(r"^\\.*\n+", flags=re.MULTILINE)
_COLUMN = re.compile(r'^    "(\w+)" (.+?),?$', flags=re.MULTILINE)


def changes_sql(settings: PostgresSettings) -> str:
    """The trigger that notifies replicas of changed rows. It watches the columns that the gateway reads."""
    columns = settings.columns
    watched = ",".join(dict.fromkeys(name for name in columns.model_dump().values() if name is not None))
    sql = _without_psql_commands("changes.sql")
    for variable, value in (
        ("table_name CONSTANT text", quoted_table(settings.table)),
        ("id_column CONSTANT text", columns.id),
        ("watched CONSTANT text[]", f"{{{watched}}}"),
    ):
        # The settings allow letters, digits and _ in names, so there is nothing to escape.
        sql, replaced = re.subn(rf"({re.escape(variable)} := )'[^']*'", rf"\g<1>'{value}'", sql)
        if replaced != 1:
            raise AssertionError(f"changes.sql has {replaced} places for {variable}")
    return sql


def links_sql() -> str:
    """The gateway's own table: how often the links of each image were killed."""
    return _without_psql_commands("links.sql")


def images_sql(settings: PostgresSettings) -> str:
    """A table of images that fits the configured names, for an application that has none yet."""
    sql = _without_psql_commands("images.example.sql")
    configured = settings.columns.model_dump()
    names = {default: configured[field] for field, default in ColumnSettings().model_dump().items() if default}
    definitions = [
        f'    "{names[default]}" {definition}'
        for default, definition in _COLUMN.findall(sql)
        if names[default] is not None
    ]
    head, _, tail = sql.partition('CREATE TABLE IF NOT EXISTS "images" (\n')
    end = tail[tail.index("\n);") :]
    table = quoted_table(settings.table)
    return f"{head}CREATE TABLE IF NOT EXISTS {table} (\n" + ",\n".join(definitions) + end


def quoted_table(table: str) -> str:
    """A table's name, with or without its schema, as an SQL identifier."""
    return ".".join(f'"{part}"' for part in table.split("."))


def _without_psql_commands(name: str) -> str:
    """The file as any client of Postgres can run it; an installed package has no ``config``, hence the copy."""
    return _PSQL_COMMAND.sub("", files("gateway.catalog").joinpath("sql", name).read_text(encoding="utf-8"))
