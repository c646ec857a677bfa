"""The time of COS by its ordinary answers: one answer of each bucket a second is looked at, beside the requests."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiohttp import hdrs

from gateway.origin.http_date import seconds_of

_AGE: Final = "Age"


class FirstAnswer(NamedTuple):
    """The header fields of an answer, and the monotonic time (seconds) at which they came."""

    headers: Mapping[str, str]
    received: float


class AnswerClock:
    """Reads the ``Date`` of the answers in ``answers``, by bucket, and empties it.

    ``observe`` gets the time that COS has now, in Unix seconds. Of several buckets, the time counts that is nearest to
    ``now``: if this machine's clock is wrong, all of them say so.
    """

    def __init__(
        self,
        answers: dict[str, FirstAnswer],
        observe: Callable[[float], None],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._observe = observe
        self._now = now
        self._monotonic = monotonic

    async def read(self) -> None:
        """Observe the time, if any answer since the last call has one; to be called once a second."""
        now, monotonic = self._now(), self._monotonic()
        times = [
            date + monotonic - received
            for headers, received in self._answers.values()
            # With an Age, a cache answered, and the Date is that of COS's answer to it (RFC 9111 section 5.1).
            if _AGE not in headers and (date := seconds_of(headers.get(hdrs.DATE))) is not None
        ]
        self._answers.clear()
        if times:
            self._observe(min(times, key=lambda cos_time: abs(cos_time - now)))
