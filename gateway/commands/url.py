"""``gateway url``: a presigned COS URL."""
# It does not check access: a caller who can read the configuration can sign URLs without it.

from pathlib import Path

import click

from gateway.commands.config_option import config_option
from gateway.commands.dependencies import Dependencies, run_or_explain
from gateway.errors import CredentialsExpired
from gateway.presign.signer import AuthorizedImage


@click.command()
@click.argument("image_id", metavar="ID")
@config_option
def url(image_id: str, config: Path | None) -> None:
    """Print a presigned COS URL of the image."""

    async def presign(opened: Dependencies) -> str:
        signing = opened.signing
        image = signing.signer.sign_image(await opened.active_record(image_id), fresh=True)
        if not signing.lifetime.is_usable(image.presigned, signing.clock.now()):
            raise CredentialsExpired("the credentials end too soon for any URL to be usable")
        return signing.public_urls.presign(AuthorizedImage(image)).url

    click.echo(run_or_explain(config, presign))
