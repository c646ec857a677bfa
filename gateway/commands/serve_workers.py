"""``gateway serve --workers N``: the supervisor, its signals and its exit code."""

import asyncio
import signal
import sys
from pathlib import Path

import click

from gateway.process.signals import Signals
from gateway.process.stuck_loop import exit_when_stuck
from gateway.process.systemd import environment_of_children
from gateway.settings import Settings
from gateway.settings.sources import settings_to_text
from gateway.workers.run_workers import run_workers
from gateway.workers.worker import WorkerCommand, WorkerFailed, started_by


def serve_with_workers(settings: Settings, config: Path | None, count: int) -> None:
    """Run ``count`` workers until SIGTERM or SIGINT; a second signal ends the drain.

    SIGHUP reloads them, SIGUSR2 replaces them, one after another. If a worker cannot start for the first time, it
    prints the reason, and this process exits with its code. Raises ``click.ClickException`` if a port is not available.
    """
    arguments = ["serve", *(["--config", str(config)] if config is not None else [])]
    started = started_by(sys.argv[0], sys.executable)
    command = WorkerCommand(started, arguments, environment_of_children(), settings_to_text(settings))

    async def run() -> None:
        signals, loop = Signals(), asyncio.get_running_loop()
        signals.handle_stop()
        loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
        loop.add_signal_handler(signal.SIGUSR2, signals.roll.set)
        with exit_when_stuck():
            await run_workers(count, command, settings.server, settings.admin, signals)

    try:
        asyncio.run(run())
    except WorkerFailed as error:
        click.echo(f"the gateway cannot start: {error}", err=True)
        sys.exit(error.exit_code or 1)
    except OSError as error:
        raise click.ClickException(f"the gateway cannot start: {error}") from None
