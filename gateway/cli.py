"""The command group of ``python -m gateway`` and ``image-gateway``."""

import importlib
import io
import sys
from typing import Final

import click

_COMMANDS: Final = ("check", "dev", "explain", "link", "queue", "serve", "sql", "takedown", "url", "warm")


class _Commands(click.Group):
    """A group that imports a command when it runs: ``serve`` needs neither rich nor the servers of ``dev``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command. None if there is none of this name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"gateway.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="image-gateway")
def main() -> None:
    """Give every private image in Tencent COS one address that never expires."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files and images may contain any character
