"""What every command that needs the configuration shares: how to name the file, and how mistakes in it are told."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from gateway.settings import Settings
from gateway.settings_sources import SettingsError, load_settings

BAD_SETTINGS = 2

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file; without it the environment and the secrets directory must say everything.",
)


def settings_of(config: Path | None) -> Settings:
    """The settings; ends the process with a line for each mistake."""
    try:
        return load_settings(config)
    except SettingsError as error:
        refuse(error)


def refuse(error: SettingsError) -> NoReturn:
    """End the process with a line for each mistake."""
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(BAD_SETTINGS)
