"""The command group of ``python -m gateway`` and ``image-gateway``."""

import importlib
import io
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

_COMMANDS: Final = ("check", "explain", "link", "queue", "serve", "sql", "takedown", "url", "warm")
# The entry points by which another distribution adds commands
_ADDED: Final = "image_gateway.commands"


class _Commands(click.Group):
    """A group that imports a command when it runs: ``serve`` does not need rich."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted({*_COMMANDS, *_added().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command. None if there is none of this name. Raises ``ClickException`` for a missing ``dev``."""
        del ctx
        if cmd_name in _COMMANDS:
            command: click.Command = getattr(importlib.import_module(f"gateway.commands.{cmd_name}"), cmd_name)
            return command
        for added in _added().select(name=cmd_name):
            loaded: click.Command = added.load()
            return loaded
        if cmd_name == "dev":
            raise click.ClickException(
                "dev is not part of this installation: run `make install` in a clone of image-gateway, or install its "
                "wheel beside that of the gateway: pip install ./image_gateway_dev-VERSION-py3-none-any.whl"
            )
        return None


def _added() -> "EntryPoints":
    """Return the commands of other distributions."""
    from importlib.metadata import entry_points  # imported here: ``serve`` does not need it

    return entry_points(group=_ADDED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="image-gateway")
def main() -> None:
    """Give every private image in Tencent COS one address that never expires."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files and images may contain any character
