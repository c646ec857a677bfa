"""The time of COS by its ordinary answers: one answer of each bucket is evaluated once a second."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aiohttp import hdrs

from gateway.net.http_date import seconds_of

_AGE: Final = "Age"


class FirstAnswer(NamedTuple):
    """The header fields of an answer, and the monotonic time (seconds) of their arrival."""

    headers: Mapping[str, str]
    received: float


class AnswerClock:
    """Reads the ``Date`` of the answers in ``answers``, by bucket, and empties it.

    ``observe`` gets COS's current time in Unix seconds. Of several buckets, the time nearest to ``now`` is used: if
    this machine's clock is wrong, it differs from all of them.
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
        """Observe the time, if any answer since the last call has a time. To be called once a second."""
        now, monotonic = self._now(), self._monotonic()
        times = [
            date + monotonic - received
            for headers, received in self._answers.values()
            # An answer with an Age comes from a cache, and has the Date of an earlier answer (RFC 9111 section 5.1).
            if _AGE not in headers and (date := seconds_of(headers.get(hdrs.DATE))) is not None
        ]
        self._answers.clear()
        if times:
            self._observe(min(times, key=lambda cos_time: abs(cos_time - now)))
