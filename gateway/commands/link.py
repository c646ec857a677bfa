"""``gateway link``: a signed gateway link."""
# It does not check access: a caller who can read the configuration can sign links without it.

import re
from pathlib import Path

import click

from gateway.access.signed_links import short_address
from gateway.api.links import MAX_LIFETIME
from gateway.commands.config_option import config_option
from gateway.commands.dependencies import Dependencies, run_or_explain
from gateway.service.access import signed_links

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """The type of an option: seconds, or a number followed by s, m, h or d; at most the longest life of a link."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the duration in seconds."""
        match = _DURATION.fullmatch(str(value))
        seconds = int(match[1]) * _SECONDS[match[2]] if match is not None else 0
        if not 1 <= seconds <= MAX_LIFETIME:
            self.fail(f"{value!r} is not 1s to 7d, such as 90s, 15m, 1h or 7d", param, ctx)
        return seconds


@click.command(short_help="Print a signed gateway link.")
@click.argument("image_id", metavar="ID")
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="How long the link is valid.")
@config_option
def link(image_id: str, expires: int, config: Path | None) -> None:
    """Print a signed gateway link, to be appended to the gateway's scheme and host."""

    async def make_link(opened: Dependencies) -> str:
        record, links = await opened.active_record(image_id), signed_links(opened.live)
        if links is None:
            raise click.ClickException("access.signed_links is not configured")
        return links.make(short_address(record.image_id), expires_in=expires, links_killed=record.links_killed)[0]

    click.echo(run_or_explain(config, make_link))
