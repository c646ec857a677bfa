"""A gateway that waits for nobody for long."""

import pytest

from tests.access.credentials import ACCESS
from tests.conftest import RunningGateway, StartGateway

IDLE = 0.3


@pytest.fixture
async def impatient(start_gateway: StartGateway) -> RunningGateway:
    """One that gives clients a third of a second for the head of a request, for its body, and to take an answer."""
    return await start_gateway(
        server={"keepalive_timeout": IDLE}, image_proxy={"timeout": IDLE}, access={"jwt": ACCESS["jwt"]}
    )
