"""``gateway url``: a presigned COS URL.

The command does not check access: a caller who can read the configuration can sign URLs without it.
"""

from pathlib import Path

import click

from gateway.api.app_keys import CLOCK, LIFETIME, PUBLIC_URLS, SIGNER
from gateway.commands.active_record import active_record
from gateway.commands.shared import config_option, run_or_explain, settings_from
from gateway.errors import CredentialsExpired
from gateway.service.app import opened_components


@click.command()
@click.argument("image_id", metavar="ID")
@config_option
def url(image_id: str, config: Path | None) -> None:
    """Print a presigned COS URL of the image."""
    settings = settings_from(config)

    async def print_url() -> None:
        async with opened_components(settings) as app:
            record = await active_record(app, image_id)
            image = app[SIGNER].sign_image(record, fresh=True)
            if not app[LIFETIME].is_usable(image.presigned, app[CLOCK].now()):
                raise CredentialsExpired("the credentials end too soon for any URL to be usable")
            click.echo(app[PUBLIC_URLS].presign(image).url)

    run_or_explain(print_url())
