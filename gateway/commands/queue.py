"""``gateway queue``: looks at and mends the refresh queue."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from gateway.api import app_keys
from gateway.commands.setup import config_option, opened_components, run_or_explain, settings_from
from gateway.commands.terminal import OutputConsole
from gateway.redis_store.refresh_queue import RefreshQueue

_SHOWN = 50


@click.group(invoke_without_command=True)
@config_option
@click.pass_context
def queue(context: click.Context, config: Path | None) -> None:
    """Look at and mend the refresh queue."""
    context.obj = config  # each command takes it, too: at the end, as elsewhere
    if context.invoked_subcommand is None:
        context.invoke(list_)


@queue.command("list")
@click.option("--most", default=_SHOWN, show_default=True, help="How many to show.")
@config_option
@click.pass_obj
def list_(before: Path | None, config: Path | None, most: int = _SHOWN) -> None:
    """The renewals that come next."""

    async def show() -> None:
        async with _opened_queue(config or before) as refresh_queue:
            now = time.time()
            lengths = await refresh_queue.lengths(now)
            click.echo(f"{lengths.queued} queued, {lengths.due} due, {lengths.dead} dead")
            table = Table("image", "style", "due in (s)")
            for claim in await refresh_queue.first(most):
                table.add_row(claim.variant.image_id, claim.variant.style or "", f"{claim.due_at - now:.0f}")
            OutputConsole().print(table)

    run_or_explain(show())


@queue.command()
@click.option("--most", default=_SHOWN, show_default=True, help="How many to show.")
@config_option
@click.pass_obj
def dead(before: Path | None, config: Path | None, most: int) -> None:
    """What was given up on, and why."""

    async def show() -> None:
        async with _opened_queue(config or before) as refresh_queue:
            table = Table("image", "style", "given up at", "attempts", "reason")
            for entry in await refresh_queue.dead(most):
                at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
                style = entry.variant.style or ""
                # As text, or rich would read brackets in the reason as markup.
                table.add_row(entry.variant.image_id, style, at, str(entry.attempts), Text(entry.reason))
            OutputConsole().print(table)

    run_or_explain(show())


@queue.command()
@config_option
@click.pass_obj
def requeue(before: Path | None, config: Path | None) -> None:
    """Try everything that was given up on again, now."""

    async def move() -> None:
        async with _opened_queue(config or before) as refresh_queue:
            click.echo(f"{await refresh_queue.requeue(time.time())} requeued")

    run_or_explain(move())


@asynccontextmanager
async def _opened_queue(config: Path | None) -> AsyncIterator[RefreshQueue]:
    async with opened_components(settings_from(config)) as app:
        if app_keys.REFRESH_QUEUE not in app:
            raise click.ClickException("url_cache.enabled is off, so there is no queue")
        yield app[app_keys.REFRESH_QUEUE]
