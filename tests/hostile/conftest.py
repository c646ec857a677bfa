"""A gateway with short timeouts."""

import pytest

from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway

IDLE = 1.0  # seconds: a busy machine holds up a test for some tenths of one


@pytest.fixture
async def impatient(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that gives clients a second for a request's head and its body, and two to read a response."""
    return await start_gateway(
        server={"keepalive_timeout": IDLE}, image_proxy={"timeout": 2}, access={"jwt": ACCESS["jwt"]}
    )
