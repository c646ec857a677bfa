"""A gateway with short timeouts."""

import pytest

from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway

IDLE = 0.3


@pytest.fixture
async def impatient(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that gives clients 0.3 seconds for a request's head and its body, and two to read a response."""
    return await start_gateway(
        server={"keepalive_timeout": IDLE}, image_proxy={"timeout": 2}, access={"jwt": ACCESS["jwt"]}
    )
