"""A gateway with every way to tell who asks turned on."""

import pytest

from gateway.dev.database import ImagesTable
from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway


@pytest.fixture
def links_table(images_table: ImagesTable) -> ImagesTable:
    """The gateway's own table, as the SQL that operators run makes it; empty."""
    images_table.create_links()
    images_table.execute("TRUNCATE image_gateway_links")
    return images_table


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """One that knows tokens, cookies, forwarded users and links."""
    return await start_gateway(access=ACCESS)
