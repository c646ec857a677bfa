"""``gateway sql``: the SQL to run once, for the configured table and columns."""

from pathlib import Path
from typing import Final

import click

from gateway.catalog.sql_files import canary_sql, changes_sql, images_sql, links_sql
from gateway.commands.config_option import config_option, settings_from

# psql takes an empty input for a success: without settings it gets a statement that fails.
_NO_SQL: Final = "DO $$ BEGIN RAISE EXCEPTION 'image-gateway sql: the configuration cannot be used'; END $$;"


@click.command(short_help="Print SQL for the configured table.")
@click.argument("name", type=click.Choice(("changes", "links", "images", "canary")))
@config_option
def sql(name: str, config: Path | None) -> None:
    """Print SQL for the configured table: one transaction, safe to repeat.

    \b
    changes  the trigger that notifies the gateway of changed and deleted rows
    links    the gateway's own table for access.signed_links
    images   a table of images, for an application that has none yet
    canary   the function that changes the row of canary.change, and nothing else

    The command runs nothing: give the SQL to psql as the owner of the table, or put it into a migration.
    """
    try:
        settings = settings_from(config)
    except SystemExit:
        click.echo(_NO_SQL)
        raise
    if name == "canary":
        if settings.canary is None or settings.canary.change is None:
            click.echo(_NO_SQL)
            raise click.UsageError("canary.change names no row")
        click.echo(canary_sql(settings.postgres, settings.canary.change), nl=False)
        return
    of_table = {"changes": changes_sql, "images": images_sql}
    click.echo(of_table[name](settings.postgres) if name in of_table else links_sql(), nl=False)
