"""``gateway dev``: the gateway on an embedded stack. The gateway's command line finds it by its entry point."""

import asyncio
import logging
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from aiohttp import web

from gateway.commands.config_option import exit_with_mistakes
from gateway.commands.output import OutputConsole
from gateway.commands.serve_process import run_until_stopped
from gateway.concurrency.background import first_of
from gateway.process.logs import configure_logging
from gateway.process.signals import Signals
from gateway.server.listener import Listening
from gateway.service.metrics import Metrics
from gateway.service.ports import serve
from gateway.service.service import Service
from gateway.settings.sources import SettingsError
from gateway_dev.playground import Playground
from gateway_dev.processes import ServerError
from gateway_dev.stack import DevStack, dev_stack
from gateway_dev.welcome import welcome

logger = logging.getLogger(__name__)


class _Folder(click.Path):
    """A path whose ``~`` is expanded here: no shell expands it in ``make run IMAGES=~/x``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        with suppress(RuntimeError):  # no such user: "~name" is then the name of a folder
            value = Path(value).expanduser()
        return super().convert(value, param, ctx)


@click.command()
@click.option(
    "--images",
    type=_Folder(exists=True, file_okay=False, path_type=Path),
    help="Serve every image below this folder instead of the samples.",
)
@click.option(
    "--state",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".dev"),
    show_default=True,
    help="Data directory of the embedded servers.",
)
def dev(images: Path | None, data_dir: Path) -> None:
    """Run the gateway on an embedded stack with sample images."""
    console = OutputConsole()
    console.print("starting PostgreSQL, Redis and the COS emulator ...", style="dim")
    try:
        with dev_stack(data_dir, images) as stack:
            configure_logging(stack.settings.logging)
            run_until_stopped(
                stack.settings,
                lambda signals: _serve(
                    stack,
                    Playground(stack.rows, stack.cos),
                    signals,
                    on_listening=lambda ports: welcome(console, ports, stack),
                ),
            )
    except (ServerError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except SettingsError as error:
        exit_with_mistakes(error)
    console.print("everything is stopped", style="dim")


async def _serve(
    stack: DevStack, playground: Playground, signals: Signals, *, on_listening: Callable[[Listening], None]
) -> None:
    """Serve the stack until the signal to stop. The playground may ask for restarts of the gateway meanwhile."""
    told: list[Listening] = []

    def extend(service: Service, app: web.Application) -> None:
        playground.add_routes(app, service.urls.invalidation.drop_here)
        service.diagnostics.replica.commands = (
            f"{shlex.quote(sys.executable)} -m gateway",  # from any folder
            shlex.quote(str(stack.config.resolve())),
        )

    def tell(ports: Listening) -> None:
        if ports not in told:  # they stay the same, unless the environment sets port 0
            told.append(ports)
            on_listening(ports)

    async with stack.cos:
        while not signals.stop.is_set():
            playground.restart.clear()
            async with serve(
                stack.settings,
                Metrics(),
                force_stop=signals.force_stop,
                extend=extend,
            ) as serving:
                playground.console = serving.ports.admin
                logger.info("listening: public=%s admin=%s", serving.ports.public, serving.ports.admin)
                tell(serving.ports)
                await first_of(signals.stop, playground.restart)
            if not signals.stop.is_set():
                logger.info("the gateway starts again: pause=%g", playground.pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(signals.stop.wait(), playground.pause)
