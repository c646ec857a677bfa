"""Addresses that open an image. Whoever can read the configuration could make them by hand, so nobody is asked more."""

import re
from collections.abc import Callable
from pathlib import Path

import click
from aiohttp import web

from gateway.api.app_keys import CATALOG, LIFETIME, LINKS, PUBLIC_URLS, SIGNER
from gateway.api.link_handlers import LONGEST, address_of
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import ImageRecord
from gateway.commands.setup import config_option, opened_components, run_or_explain, settings_from
from gateway.errors import CredentialsExpired
from gateway.presign.presigned_url import SignedImage

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """Seconds, or a number with s, m, h or d behind it; at most as long as a link may last."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As seconds."""
        found = _DURATION.fullmatch(str(value))
        seconds = int(found[1]) * _SECONDS[found[2]] if found is not None else 0
        if not 1 <= seconds <= LONGEST:
            self.fail(f"{value!r} is not 1s to 7d, such as 90s, 15m, 1h or 7d", param, ctx)
        return seconds


@click.command()
@click.argument("image_id", metavar="ID")
@config_option
def url(image_id: str, config: Path | None) -> None:
    """Print a presigned COS URL of the image."""

    def presigned(app: web.Application, record: ImageRecord) -> str:
        signed = app[SIGNER].sign(record, fresh=True)
        if signed.expires_at - signed.signed_at <= app[LIFETIME].min_remaining:
            raise CredentialsExpired("the temporary credentials end too soon: renew cos.token and its keys")
        return app[PUBLIC_URLS].presign(SignedImage(record, signed)).url

    _print_address(image_id, config, presigned)


@click.command()
@click.argument("image_id", metavar="ID")
@click.option("--expires", type=Duration(), default="1h", show_default=True, help="How long it opens the image.")
@config_option
def link(image_id: str, expires: int, config: Path | None) -> None:
    """Print a signed gateway link, to be put behind the gateway's scheme and host."""

    def signed(app: web.Application, record: ImageRecord) -> str:
        if LINKS not in app:
            raise click.ClickException("access.signed_links is not configured")
        return app[LINKS].make(address_of(record.image_id), expires_in=expires, links_killed=record.links_killed)[0]

    _print_address(image_id, config, signed)


def _print_address(image_id: str, config: Path | None, address: Callable[[web.Application, ImageRecord], str]) -> None:
    settings = settings_from(config)

    async def show() -> None:
        async with opened_components(settings) as app:
            record = (await app[CATALOG].fetch_many([parse_image_id(image_id)])).get(image_id)
            if record is None:
                raise click.ClickException("there is no such image, or it is not active")
            click.echo(address(app, record))

    run_or_explain(show())
