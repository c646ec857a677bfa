"""``gateway queue``: inspects the refresh queue and requeues its dead entries."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from gateway.api.app_keys import REFRESH_QUEUE
from gateway.app import opened_components
from gateway.commands.shared import OutputConsole, config_option, run_or_explain, settings_from
from gateway.redis_store.refresh_queue import RefreshQueue

_MOST_LISTED = 50


@click.group(invoke_without_command=True)
@config_option
@click.pass_context
def queue(context: click.Context, config: Path | None) -> None:
    """Inspect the refresh queue and requeue its dead entries."""
    context.obj = config  # each subcommand takes --config, too, as the other commands do at the end of the line
    if context.invoked_subcommand is None:
        context.invoke(list_)


@queue.command("list")
@click.option("--most", default=_MOST_LISTED, show_default=True, help="How many renewals to list.")
@config_option
@click.pass_obj
def list_(group_config: Path | None, config: Path | None, most: int = _MOST_LISTED) -> None:
    """List the renewals that are due next."""

    async def print_next() -> None:
        async with _opened_queue(config or group_config) as refresh_queue:
            now = time.time()
            lengths = await refresh_queue.lengths(now)
            click.echo(f"{lengths.queued} queued, {lengths.due} due, {lengths.dead} dead")
            table = Table("image", "style", "due in (s)")
            for claim in await refresh_queue.first(most):
                table.add_row(claim.item.image_id, claim.item.rendition or "", f"{claim.due_at - now:.0f}")
            OutputConsole().print(table)

    run_or_explain(print_next())


@queue.command()
@click.option("--most", default=_MOST_LISTED, show_default=True, help="How many entries to list.")
@config_option
@click.pass_obj
def dead(group_config: Path | None, config: Path | None, most: int) -> None:
    """List the renewals that were given up, with the reason."""

    async def print_dead() -> None:
        async with _opened_queue(config or group_config) as refresh_queue:
            table = Table("image", "style", "given up at", "attempts", "reason")
            for entry in await refresh_queue.dead(most):
                at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
                style = entry.item.rendition or ""
                # As Text: rich would read brackets in the reason as markup.
                table.add_row(entry.item.image_id, style, at, str(entry.attempts), Text(entry.reason))
            OutputConsole().print(table)

    run_or_explain(print_dead())


@queue.command()
@config_option
@click.pass_obj
def requeue(group_config: Path | None, config: Path | None) -> None:
    """Try every renewal that was given up again, now."""

    async def requeue_dead() -> None:
        async with _opened_queue(config or group_config) as refresh_queue:
            click.echo(f"{await refresh_queue.requeue(time.time())} requeued")

    run_or_explain(requeue_dead())


@asynccontextmanager
async def _opened_queue(config: Path | None) -> AsyncIterator[RefreshQueue]:
    async with opened_components(settings_from(config)) as app:
        if REFRESH_QUEUE not in app:
            raise click.ClickException("url_cache.enabled is off, so there is no queue")
        yield app[REFRESH_QUEUE]
