"""The services that purge."""

from collections.abc import AsyncIterator

import pytest

from tests.answering import http, service
from tests.purge.tencent import Cloud, cloud_of

__all__ = ["cloud", "http", "service"]


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """The services with the limits of the documents."""
    async with cloud_of() as cloud:
        yield cloud
