"""A gateway with every kind of authentication turned on."""

import pytest

from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """One that knows tokens, cookies, forwarded users and links."""
    return await start_gateway(access=ACCESS)
