"""The option ``--config``: the settings of a command, or a line per mistake and an exit code."""

import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from gateway.settings import Settings
from gateway.settings.sources import SettingsError, load_settings, settings_from_text

FAILED = 1
BAD_SETTINGS = 2
NGINX: Final = Path("/etc/nginx")  # where its configuration is
_NO_FILE = "No file was read: pass --config FILE, or set variables such as GATEWAY_POSTGRES__DSN."

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="YAML file; without it every setting comes from the environment and the secrets directory.",
)


def settings_from(config: Path | None, handed: str | None = None) -> Settings:
    """Return the settings, or print a line per mistake and exit with ``BAD_SETTINGS``.

    ``handed``: the text that the parent of this worker has handed over. Then nothing is read.
    """
    try:
        return load_settings(config) if handed is None else settings_from_text(handed)
    except SettingsError as error:
        exit_with_mistakes(error, hint=_NO_FILE if config is None else None)


def exit_with_mistakes(error: SettingsError, *, hint: str | None = None) -> NoReturn:
    """Print a line per mistake in the settings, then the hint, and exit with ``BAD_SETTINGS``."""
    for line in (*error.problems, *([hint] if hint else [])):
        click.echo(line, err=True)
    sys.exit(BAD_SETTINGS)
