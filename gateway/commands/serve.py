"""``gateway serve``: the gateway on real Redis, Postgres and COS."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.commands.config_option import config_option, settings_from
from gateway.process.logs import configure_logging

if TYPE_CHECKING:
    from gateway.workers.worker_channel import WorkerChannel


@click.command()
@config_option
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that share the public port, watched by a parent with one admin port; 1: this process serves.",
)
@click.option("--as-worker", "channel", type=int, hidden=True)
def serve(config: Path | None, workers: int, channel: int | None) -> None:
    """Run the gateway on real Redis, Postgres and COS."""
    worker_channel = _taken(channel) if channel is not None else None
    given = worker_channel.assignment if worker_channel is not None else None
    settings = settings_from(config, given.settings if given is not None else None)
    configure_logging(settings.logging, worker=given.number if given is not None else None)
    # Imported here: the supervisor of workers needs 15 MB less without the modules that serve.
    if workers > 1:
        from gateway.commands.serve_workers import serve_with_workers

        serve_with_workers(settings, config, workers)
    else:
        from gateway.commands.serve_process import serve_in_this_process

        serve_in_this_process(settings, config, worker_channel)


def _taken(channel: int) -> "WorkerChannel":
    # Imported here: only a worker needs it.
    from gateway.workers.worker_channel import NoSupervisor, WorkerChannel

    try:
        return WorkerChannel.take(channel)
    except NoSupervisor as error:
        raise click.ClickException(str(error)) from None
