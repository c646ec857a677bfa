"""``gateway dev``: the gateway on an embedded stack."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from gateway.commands.serve import serve_until_stopped
from gateway.commands.shared import OutputConsole, exit_with_mistakes
from gateway.ops.logs import configure_logging
from gateway.settings.sources import SettingsError


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
        with dev_stack(data_dir, images) as stack:
            configure_logging(stack.settings.logging)
            serve_until_stopped(
                stack.settings,
                beside=stack.cos,
                on_listening=lambda ports: welcome(console, ports, stack),
            )
    except (ServerError, OSError) as error:
        raise click.ClickException(str(error)) from None
    except SettingsError as error:
        exit_with_mistakes(error)
    console.print("everything is stopped", style="dim")
