"""A gateway with short timeouts."""

import pytest

from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway

IDLE = 0.3


@pytest.fixture
async def impatient(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that gives clients 0.3 seconds for a request's head, for its body, and to read a response."""
    return await start_gateway(
        server={"keepalive_timeout": IDLE}, image_proxy={"timeout": IDLE}, access={"jwt": ACCESS["jwt"]}
    )
