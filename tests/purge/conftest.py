"""The tier in a real Redis with a clock to sign by, and the services that purge."""

from collections.abc import AsyncIterator

import pytest

from tests.answering import http, service
from tests.purge.tencent import Cloud, cloud_of
from tests.tier import clock, tier

__all__ = ["clock", "cloud", "http", "service", "tier"]


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """The services with the limits of the documents."""
    async with cloud_of() as cloud:
        yield cloud
