"""Changes a row of the canary's own, and waits until its new bytes come through each front."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.canary.client import FrontClient
from gateway.canary.rules import Known, Seen, judge_change
from gateway.metrics.canary import CHANGE, CanaryOutcome, Check

_PAUSE: Final = 0.25  # seconds between two requests to a front
_IN_A_ROW: Final = 6  # answers with the new bytes: a balancer asks another gateway each time


class UnfitRow(Exception):
    """The canary's row cannot be changed, so that nothing is known of the fronts."""


@dataclass(frozen=True, slots=True)
class NewBytesProbe:
    """Gives the canary's own row another key, and asks each front for the image until it has the new bytes.

    known: reads the row, and returns the size and the entity tag of its object. Raises ``UnfitRow``.
    touch: gives the row its other key. Raises ``UnfitRow``.
    within: seconds in which every answer of a front must have the new bytes.
    """

    via: Sequence[str]
    address: str
    known: Callable[[], Awaitable[Known]]
    touch: Callable[[], Awaitable[None]]
    client: FrontClient
    within: float

    async def ask(self, proven: frozenset[Check]) -> list[CanaryOutcome]:
        """Change the row, and return an outcome for each front. What was ``proven`` before changes nothing."""
        del proven
        try:
            before = await self.known()
            await asyncio.gather(*map(self._get, self.via))  # a cache has the old bytes from now on
            await self.touch()
            started, after = time.monotonic(), await self.known()
        except UnfitRow as error:
            return self._unfit(str(error))
        if after.etag == before.etag:
            return self._unfit("the objects of canary.change.keys have the same bytes")
        return list(await asyncio.gather(*(self._wait(via, after, started) for via in self.via)))

    def _unfit(self, problem: str) -> list[CanaryOutcome]:
        what = f"the canary is wrong: {problem}"
        return [CanaryOutcome(via, CHANGE, None, what) for via in self.via]

    async def _wait(self, via: str, wanted: Known, started: float) -> CanaryOutcome:
        came_at, in_a_row = started, 0
        while True:
            seen, now = await self._get(via), time.monotonic()
            if seen.status == 200 and (seen.etag or "").removeprefix("W/") == wanted.etag:
                came_at, in_a_row = (came_at if in_a_row else now), in_a_row + 1
            else:
                in_a_row = 0
            if in_a_row == _IN_A_ROW:
                what = f"the bytes of a change came after {came_at - started:.1f} s"
                return CanaryOutcome(via, CHANGE, True, what, came_at - started)
            if not in_a_row and now - started > self.within:
                if await self._is_changed_again(wanted):
                    what = "the canary is wrong: another process changed its row meanwhile"
                    return CanaryOutcome(via, CHANGE, None, what)
                return CanaryOutcome(via, CHANGE, *judge_change(seen, now - started))
            await asyncio.sleep(_PAUSE)

    async def _is_changed_again(self, wanted: Known) -> bool:
        """Return whether the row has other bytes by now, for instance since an operator has run ``check``."""
        try:
            return (await self.known()).etag != wanted.etag
        except UnfitRow:
            return True

    async def _get(self, via: str) -> Seen:
        return await self.client.ask(via + self.address)
