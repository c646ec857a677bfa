"""``gateway sql``: the SQL to run once, for the configured table and columns."""

from pathlib import Path

import click

from gateway.catalog.installation import changes_sql, images_sql, links_sql
from gateway.commands.shared import config_option, settings_from


@click.group(short_help="Print SQL for the configured table.")
def sql() -> None:
    """Print SQL for the configured table: one transaction, safe to repeat.

    The command runs nothing: pipe the SQL to psql as the owner of the table, or put it into a migration.
    """


@sql.command()
@config_option
def changes(config: Path | None) -> None:
    """Print the trigger that notifies the gateway of changed and deleted rows."""
    click.echo(changes_sql(settings_from(config).postgres), nl=False)


@sql.command()
@config_option
def links(config: Path | None) -> None:
    """Print the gateway's own table for access.signed_links."""
    settings_from(config)
    click.echo(links_sql(), nl=False)


@sql.command()
@config_option
def images(config: Path | None) -> None:
    """Print a table of images, for an application that has none yet."""
    click.echo(images_sql(settings_from(config).postgres), nl=False)
