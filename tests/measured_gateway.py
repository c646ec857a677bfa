"""``python -m tests.measured_gateway CONFIG IDS REPORT``: the gateway on an event loop that measures its iterations.

IDS different images are counted as used in each second, as if they were requested. An iteration lasts from the return
of one ``select()`` to the call of the next: work that becomes ready meanwhile waits for its end. It is measured in the
processor time of the loop's thread, which other processes do not prolong. At the end, REPORT gets a JSON list of
the longer iterations: when each ended (Unix seconds), and its seconds on a machine that is not slow.
"""

import asyncio
import json
import logging
import selectors
import sys
import time
from pathlib import Path

from gateway.commands.config_option import settings_from
from gateway.commands.serve_process import run_until_stopped
from gateway.concurrency.background import background
from gateway.process.logs import configure_logging
from gateway.process.signals import Signals
from gateway.service.metrics import Metrics
from gateway.service.ports import serve
from gateway.urls.usage_counter import UsageCounter
from tests.processor import slowness

_SHORTEST = 0.001  # seconds; shorter iterations are not reported
_STEPS = 100  # of a second in which images are counted


class MeasuredSelector(selectors.DefaultSelector):
    """Notes the time from the return of each ``select()`` to the next call."""

    def __init__(self) -> None:
        super().__init__()
        self.iterations: list[tuple[float, float]] = []
        self._returned_at: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, as the base class does."""
        if self._returned_at is not None and (took := time.thread_time() - self._returned_at) >= _SHORTEST:
            self.iterations.append((time.time(), took))
        ready = super().select(timeout)
        self._returned_at = time.thread_time()
        return ready


class MeasuredPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes event loops on one measured selector."""

    def __init__(self, selector: MeasuredSelector) -> None:
        super().__init__()
        self._selector = selector

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a loop that waits with the measured selector."""
        return asyncio.SelectorEventLoop(self._selector)


async def count_uses(usage: UsageCounter, ids: int) -> None:
    """Count each of the ids as used once a second, a hundredth of them at a time; late ones are counted later."""
    number, began = 0, time.monotonic()
    while True:
        await asyncio.sleep(max(0.0, began + number / _STEPS - time.monotonic()))
        first = number % _STEPS * ids // _STEPS
        for image in range(first, first + ids // _STEPS):
            usage.accessed(f"id-{image}")
        number += 1


def main(config: Path, ids: int, report: Path) -> None:
    """Serve until the signal to stop, then write the report."""

    settings = settings_from(config)
    configure_logging(settings.logging)
    selector, slower = MeasuredSelector(), slowness()
    asyncio.set_event_loop_policy(MeasuredPolicy(selector))

    async def run(signals: Signals) -> None:
        async with (
            serve(settings, Metrics(), force_stop=signals.force_stop) as running,
            background("uses", count_uses(running.service.urls.usage, ids)),
        ):
            logger = logging.getLogger(__name__)
            logger.info("listening: public=%s admin=%s", running.ports.public, running.ports.admin)
            await signals.stop.wait()

    run_until_stopped(settings, run)
    report.write_text(json.dumps([(at, took / slower) for at, took in selector.iterations]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
