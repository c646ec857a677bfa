"""The row of an image that a command names."""

import click

from gateway.catalog.image_id import parse_image_id
from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.record import ImageRecord


async def active_record(catalog: PostgresCatalog, image_id: str) -> ImageRecord:
    """Return the image's record. Raises ``click.ClickException`` if the table has no active row with this id."""
    record = await catalog.fetch(parse_image_id(image_id))
    if record is None:
        raise click.ClickException("there is no such image, or it is not active")
    return record
