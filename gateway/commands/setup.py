"""What the commands share."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from aiohttp import web

from gateway import components
from gateway.app import create_app
from gateway.errors import DependencyDown, GatewayError
from gateway.metrics.collectors import Metrics
from gateway.settings import Settings
from gateway.settings.sources import SettingsError, load_settings

CANNOT_START = 1
BAD_SETTINGS = 2

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file; without it the environment and the secrets directory must say everything.",
)


def settings_from(config: Path | None) -> Settings:
    """The settings; mistakes end the command with one line each."""
    try:
        return load_settings(config)
    except SettingsError as error:
        refuse(error)


def refuse(error: SettingsError) -> NoReturn:
    """Say what is wrong with the settings, and end."""
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(BAD_SETTINGS)


def run_or_explain(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``; an outcome that is an error ends the command with one line."""
    try:
        asyncio.run(work)
    except (DependencyDown, GatewayError) as error:
        raise click.ClickException(str(error) or type(error).__name__) from None


@asynccontextmanager
async def opened_components(settings: Settings) -> AsyncIterator[web.Application]:
    """The adapters and the resolver of a gateway that serves nobody."""
    app = create_app(settings, Metrics())
    async with AsyncExitStack() as stack:
        for part in (components.catalog, components.shared_tier, components.resolver):
            await stack.enter_async_context(asynccontextmanager(part)(app))
        yield app
