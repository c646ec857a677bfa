"""The row of an image that a command names."""

import click
from aiohttp import web

from gateway.api.app_keys import CATALOG
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import ImageRecord


async def active_record(app: web.Application, image_id: str) -> ImageRecord:
    """Return the image's record; raise ``click.ClickException`` if the table has no active row with this id."""
    record = await app[CATALOG].fetch(parse_image_id(image_id))
    if record is None:
        raise click.ClickException("there is no such image, or it is not active")
    return record
