"""``gateway queue``: inspects the queues of renewals and purges, and requeues their dead entries."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
from rich.table import Table
from rich.text import Text

from gateway.api.app_keys import PURGE_QUEUE, REFRESH_QUEUE
from gateway.commands.output_console import OutputConsole
from gateway.commands.shared import config_option, run_or_explain, settings_from
from gateway.presign.signed_image import ImageVariant
from gateway.process.log_format import redact
from gateway.redis_store.purge_queue import PurgeQueue
from gateway.redis_store.refresh_queue import RefreshQueue
from gateway.service.app import opened_components

_MOST_LISTED = 50


_most_option = click.option(
    "--most", type=click.IntRange(min=1), default=_MOST_LISTED, show_default=True, help="How many entries to list."
)
_purges_option = click.option("--purges", is_flag=True, help="The queue of purges for caches in front.")


class _Options(NamedTuple):
    """Options of the group; each subcommand accepts them as well, at the end of the line like other commands."""

    config: Path | None
    purges: bool


@click.group(invoke_without_command=True, short_help="Inspect the refresh queue, and requeue dead entries.")
@config_option
@_purges_option
@click.pass_context
def queue(context: click.Context, config: Path | None, *, purges: bool) -> None:
    """Inspect the refresh queue, or with --purges the queue of purges, and requeue dead entries."""
    context.obj = _Options(config, purges)
    if context.invoked_subcommand is None:
        context.invoke(list_)


@queue.command("list")
@_most_option
@config_option
@_purges_option
@click.pass_obj
def list_(of_group: _Options, config: Path | None, most: int = _MOST_LISTED, *, purges: bool = False) -> None:
    """List the next entries that fall due."""

    async def print_next() -> None:
        async with _opened_queue(of_group, config, purges=purges) as opened:
            now = time.time()
            lengths = await opened.lengths(now)
            click.echo(f"{lengths.queued} queued, {lengths.due} due, {lengths.dead} dead")
            table = Table("image", "style", "due in (s)")
            for claim in await opened.first(most):
                table.add_row(*_names(claim.item), f"{claim.due_at - now:.0f}")
            if table.row_count:
                OutputConsole().print(table)

    run_or_explain(print_next())


@queue.command()
@_most_option
@config_option
@_purges_option
@click.pass_obj
def dead(of_group: _Options, config: Path | None, most: int, *, purges: bool) -> None:
    """List the dead entries with their reasons."""

    async def print_dead() -> None:
        async with _opened_queue(of_group, config, purges=purges) as opened:
            table = Table("image", "style", "given up at", "attempts", "reason")
            for entry in await opened.dead(most):
                at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
                # As Text: rich would read brackets in the reason as markup.
                table.add_row(*_names(entry.item), at, str(entry.attempts), Text(redact(entry.reason)))
            if table.row_count:
                OutputConsole().print(table)
            else:
                click.echo("0 dead")

    run_or_explain(print_dead())


@queue.command()
@config_option
@_purges_option
@click.pass_obj
def requeue(of_group: _Options, config: Path | None, *, purges: bool) -> None:
    """Make all dead entries due now."""

    async def requeue_dead() -> None:
        async with _opened_queue(of_group, config, purges=purges) as opened:
            click.echo(f"{await opened.requeue(time.time())} requeued")

    run_or_explain(requeue_dead())


def _names(item: ImageVariant | str) -> tuple[str, str]:
    """Return the image and the style of an entry; purges have no style."""
    return (item, "") if isinstance(item, str) else (item.image_id, item.rendition or "")


@asynccontextmanager
async def _opened_queue(
    of_group: _Options, config: Path | None, *, purges: bool
) -> AsyncIterator[RefreshQueue | PurgeQueue]:
    is_of_purges = purges or of_group.purges
    # The error says that Redis does not answer; the line of the log, that a gateway goes on without it.
    logging.getLogger("gateway.redis_store").addHandler(logging.NullHandler())
    async with opened_components(settings_from(config or of_group.config)) as app:
        if is_of_purges and PURGE_QUEUE not in app:
            raise click.ClickException("purge is not configured, so there is no queue of purges")
        if REFRESH_QUEUE not in app:
            raise click.ClickException("url_cache.enabled is off, so there is no queue")
        yield app[PURGE_QUEUE] if is_of_purges else app[REFRESH_QUEUE]
