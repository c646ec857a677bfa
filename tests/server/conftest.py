"""The event loops that tests of the server name: ``@BOTH_LOOPS``; the others run on asyncio's own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from gateway.process.uvloop_loop import Loop

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loops by name."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    mark = item.get_closest_marker("asyncio")
    if mark is not None and "loop_factories" in mark.kwargs:
        factories["uvloop"] = Loop
    return factories
