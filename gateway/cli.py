"""The commands, on ``python -m gateway`` and ``image-gateway``."""

import asyncio
import io
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from gateway.app import create_admin_app, create_app
from gateway.catalog.postgres import CatalogQueryRefused
from gateway.commands import url
from gateway.commands.check import check_all
from gateway.commands.queue import queue
from gateway.commands.setup import CANNOT_START, config_option, refuse, settings_from
from gateway.commands.sql import sql
from gateway.commands.terminal import OutputConsole
from gateway.commands.warm import warm
from gateway.metrics.collectors import Metrics
from gateway.ops import memory_tuning
from gateway.ops.logs import configure_logging
from gateway.server import file_limit
from gateway.server.listener import Listening, PurePythonParser, listening
from gateway.settings import Settings
from gateway.settings.sources import SettingsError

logger = logging.getLogger(__name__)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="image-gateway")
def main() -> None:
    """Gives every private image in Tencent COS one address that never expires."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files and images may have any letter


@main.command()
@config_option
def serve(config: Path | None) -> None:
    """Run the gateway on real Redis, Postgres and COS."""
    settings = settings_from(config)
    configure_logging(settings.logging)
    _run(settings)


@main.command()
@config_option
def check(config: Path | None) -> None:
    """Validate the configuration, then try Redis, Postgres and COS one by one."""
    settings = settings_from(config)
    logging.getLogger("gateway.redis_store").addHandler(logging.NullHandler())  # a finding below says it
    console = OutputConsole(highlight=False, soft_wrap=True)

    async def examine() -> bool:
        all_well = True
        async for finding in check_all(settings):
            all_well &= finding.is_well
            verdict = "[red]fail[/] "
            if finding.is_well:
                verdict = "[yellow]warn[/] " if finding.is_warning else "[green]ok[/]   "
            console.print(verdict, f"{finding.name}:", finding.what)
            if finding.advice:
                console.print("      ", finding.advice, style="yellow")
        return all_well

    if not asyncio.run(examine()):
        sys.exit(CANNOT_START)


class _Folder(click.Path):
    """A folder that there is; ``~`` is a home also where no shell has seen to it, as in ``make run IMAGES=~/x``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        with suppress(RuntimeError):  # nobody's home: then it is the name of a folder
            value = Path(value).expanduser()
        return super().convert(value, param, ctx)


@main.command()
@click.option(
    "--images",
    type=_Folder(exists=True, file_okay=False, path_type=Path),
    help="Serve every image below this folder instead of the samples.",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".dev"),
    show_default=True,
    help="Where the embedded servers keep their data.",
)
def dev(images: Path | None, state: Path) -> None:
    """Run the gateway on an embedded stack, with images to look at."""
    try:
        from gateway.dev.processes import ServerError
        from gateway.dev.stack import dev_stack
        from gateway.dev.welcome import welcome
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is missing: run `make install` in a clone of image-gateway, or install the wheel with its "
            "extra: pip install './image_gateway-VERSION-py3-none-any.whl[dev]'"
        ) from None
    console = OutputConsole()
    console.print("starting PostgreSQL, Redis and the COS emulator ...", style="dim")
    try:
        with dev_stack(state, images) as stack:
            configure_logging(stack.settings.logging)
            _run(
                stack.settings,
                beside=stack.cos,
                ready=lambda ports: welcome(console, ports, stack),
            )
    except (ServerError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except SettingsError as error:
        refuse(error)
    console.print("everything is stopped", style="dim")


def _run(
    settings: Settings,
    *,
    beside: AbstractAsyncContextManager[object] | None = None,
    ready: Callable[[Listening], None] | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then drain, until a second SIGTERM or SIGINT.

    ``beside`` is open as long; ``ready`` is called with the ports.
    """

    async def serve_until_told() -> None:
        memory_tuning.tune_memory()
        file_limit.raise_nofile_limit(settings.server.max_streams)
        stop, force_stop = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, lambda: (force_stop if stop.is_set() else stop).set())
        # A terminal that closes sends SIGHUP, and so does its shell: the second one is no request to hurry. Ignored, it
        # would leave the gateway and the servers of `dev` running with nobody to stop them; who wants that says nohup.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, stop.set)
        app = create_app(settings, Metrics())
        async with beside or nullcontext(), listening(app, create_admin_app, force_stop) as ports:
            logger.info("listening: public=%s admin=%s", ports.public, ports.admin)
            if ready is not None:
                ready(ports)
            await stop.wait()

    try:
        asyncio.run(serve_until_told())
    except CatalogQueryRefused as error:
        advice = "look at postgres.table and postgres.columns, and at the grants; `check` says more"
        raise click.ClickException(f"the gateway cannot start: postgres: {error}; {advice}") from None
    except (OSError, PurePythonParser) as error:
        raise click.ClickException(f"the gateway cannot start: {error}") from None


main.add_command(queue)
main.add_command(warm)
main.add_command(sql)
main.add_command(url.url)
main.add_command(url.link)
