"""``gateway queue``: inspects the queues of renewals and purges, and requeues their dead entries."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from gateway.commands.config_option import config_option
from gateway.commands.dependencies import Dependencies, run_or_explain
from gateway.commands.output import OutputConsole
from gateway.presign.style_variants import ImageVariant
from gateway.process.audit import AuditLog, operating_user
from gateway.process.log_format import redact
from gateway.redis_queue.leased_queue import LeasedQueue
from gateway.service.purges import make_purge_intake

_MOST_LISTED = 50


@click.command(short_help="Inspect the refresh queue, and requeue dead entries.")
@click.argument("action", type=click.Choice(("list", "dead", "requeue")), default="list")
@config_option
@click.option("--purges", is_flag=True, help="The queue of purges for caches in front.")
@click.option("--most", type=click.IntRange(min=1), default=_MOST_LISTED, show_default=True, help="How many to list.")
def queue(action: str, config: Path | None, most: int, *, purges: bool) -> None:
    """Inspect the refresh queue, or with --purges the queue of purges, and requeue dead entries.

    \b
    list     the next entries that fall due
    dead     the dead entries with their reasons
    requeue  make all dead entries due now
    """
    # The error says that Redis does not answer; the line of the log, that a gateway goes on without it.
    logging.getLogger("gateway.redis_connection").addHandler(logging.NullHandler())

    async def run(opened: Dependencies) -> None:
        redis = opened.stores.redis
        intake = make_purge_intake(opened.live.value, opened.metrics.purge, opened.stores)
        if purges and intake is None:
            raise click.ClickException("purge is not configured, so there is no queue of purges")
        if redis is None:
            raise click.ClickException("url_cache.enabled is off, so there is no queue")
        chosen = intake.queue if purges and intake is not None else redis.queue
        match action:
            case "list":
                await _print_next(chosen, most)
            case "dead":
                await _print_dead(chosen, most)
            case _:
                requeued = await chosen.requeue(time.time())
                click.echo(f"{requeued} requeued")
                name = "purges" if purges else "renewals"
                audit = AuditLog(opened.live.map(lambda settings: settings.logging))
                await audit.note("requeue", operating_user(), queue=name, requeued=requeued)

    run_or_explain(config, run)


async def _print_next(queue: LeasedQueue, most: int) -> None:
    now = time.time()
    lengths = await queue.state(now)
    click.echo(f"{lengths.queued} queued, {lengths.due} due, {lengths.dead} dead")
    table = Table("image", "style", "due in (s)")
    for claim in await queue.first(most):
        table.add_row(*_names(claim.item), f"{claim.due_at - now:.0f}")
    if table.row_count:
        OutputConsole().print(table)


async def _print_dead(queue: LeasedQueue, most: int) -> None:
    table = Table("image", "style", "given up at", "attempts", "reason")
    for entry in await queue.dead(most):
        at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        # As Text: rich would read brackets in the reason as markup.
        table.add_row(*_names(entry.item), at, str(entry.attempts), Text(redact(entry.reason)))
    if table.row_count:
        OutputConsole().print(table)
    else:
        click.echo("0 dead")


def _names(item: ImageVariant) -> tuple[str, str]:
    """Return the image and the style of an entry. Purges have no style."""
    return item.image_id, item.rendition or ""
