"""Caches in front that know no change: a CDN that is purged, and browsers. They obey Cache-Control."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from tests.simulation.gateway_process import Answer

PURGED_TOGETHER: Final = 100  # images


class Copy(NamedTuple):
    """A copy in a cache, when it was asked for or made, and when it ends."""

    answer: Answer
    made_at: float
    until: float


class Front:
    """A cache in front: a CDN, which many share, or the browser of one viewer.

    ask: asks what is behind it for an image.
    now: seconds by which copies end.
    delay: returns how many seconds a purge is under way.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[str, str], Awaitable[Answer]],
        now: Callable[[], float],
        delay: Callable[[], float],
        *,
        is_shared: bool,
    ) -> None:
        self.name = name
        self.is_shared = is_shared
        self._ask = ask
        self._now = now
        self._delay = delay
        self._copies: dict[str, Copy] = {}
        self._purges: dict[str, int] = {}

    async def answer(self, image_id: str, viewer: str) -> tuple[Answer, Copy | None]:
        """Return the answer to a request for an image, and the copy that it is, if it is one."""
        copy = self._copies.get(image_id)
        if copy is not None and copy.until > self._now():
            return copy.answer._replace(viewer=viewer), copy
        purges = self._purges.get(image_id)
        asked_at = self._now()  # the time under way counts for the age (RFC 9111, section 4.2.3)
        answer = await self._ask(image_id, viewer)
        lasts = answer.kept_for(is_shared=self.is_shared)
        if lasts and self._purges.get(image_id) == purges:  # what was asked for before a purge is not kept
            self._copies[image_id] = Copy(answer, asked_at, asked_at + lasts)
        return answer, None

    # ---- as the target of purges (``gateway.purge.target``)

    most = PURGED_TOGETHER

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Drop copies."""
        await asyncio.sleep(self._delay())
        for image_id in image_ids:
            self._purges[image_id] = self._purges.get(image_id, 0) + 1
            self._copies.pop(image_id, None)

    async def examine(self) -> str:
        """Return the state of the service."""
        return ""
