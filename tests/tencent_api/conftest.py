"""A service with answers that the test sets."""

from collections.abc import AsyncIterator

import pytest

from tests.answering import Service, answering


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on a free port."""
    async with answering() as service:
        yield service
