"""``gateway url``: a presigned COS URL.

The command does not check access: a caller who can read the configuration can sign URLs without it.
"""

from pathlib import Path

import click

from gateway.commands.active_record import active_record
from gateway.commands.shared import config_option, run_or_explain, settings_from
from gateway.errors import CredentialsExpired
from gateway.presign.signed_image import AuthorizedImage
from gateway.service.metrics import Metrics
from gateway.service.signing import open_signing
from gateway.service.stores import open_stores
from gateway.settings import Live


@click.command()
@click.argument("image_id", metavar="ID")
@config_option
def url(image_id: str, config: Path | None) -> None:
    """Print a presigned COS URL of the image."""
    settings = settings_from(config)

    async def print_url() -> None:
        live, metrics = Live(settings), Metrics()
        async with (
            open_signing(live, metrics.presign) as signing,
            open_stores(live, metrics, signing) as stores,
        ):
            record = await active_record(stores.catalog, image_id)
            image = signing.signer.sign_image(record, fresh=True)
            if not signing.lifetime.is_usable(image.presigned, signing.clock.now()):
                raise CredentialsExpired("the credentials end too soon for any URL to be usable")
            click.echo(signing.public_urls.presign(AuthorizedImage(image)).url)

    run_or_explain(print_url())
