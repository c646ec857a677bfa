"""The ids of changed images that wait to be handled: each once, and at most 100,000."""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

from gateway.catalog.image_id import parse_image_id
from gateway.errors import InvalidImageId

logger = logging.getLogger(__name__)

# The first letter of payloads that are about the trigger: no id of an image starts with it. The SQL that installs the
# trigger sends one, and so do `check` and `explain`.
TEST_PREFIX: Final = "-"
_WITHIN: Final = 0.2  # seconds from an id that comes too late to the call of ``too_many``


class Notification(Protocol):
    """What psycopg2 makes of a notification."""

    payload: str


class ChangedIds:
    """Receives the notifications of a connection, in the place of psycopg2's list ``connection.notifies``.

    psycopg2 accepts any object with ``append`` in place of the list. aiopg moves the items of the list into a queue
    without a bound: it tests the object, then calls ``pop(0)``. Here aiopg finds at most one wake-up, so its queue
    holds at most one item.

    While ``many`` ids wait, the last id would be handled too late. Then ``too_many`` is called, at most 0.2 seconds
    after each id, with the number of ids that were dropped since its last call. At most ``most`` ids are kept.
    """

    def __init__(
        self,
        too_many: Callable[[int], None],
        tested: Callable[[], None] = lambda: None,
        *,
        many: int = 5_000,
        most: int = 100_000,
    ) -> None:
        self._too_many = too_many
        self._tested = tested
        self._many = many
        self._most = most
        self._waiting: dict[str, None] = {}
        self._dropped = 0
        self._is_waking = False  # there is a wake-up here, or aiopg has it
        self._wake_ups: list[None] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_logged = False

    def append(self, notification: Notification) -> None:
        """Keep the id of a notification. A payload about the trigger calls ``tested``. Any other payload is ignored.

        psycopg2 calls this for each notification, on the event loop: it must not block and not raise.
        """
        try:
            image_id = parse_image_id(notification.payload)
        except InvalidImageId:
            if notification.payload.startswith(TEST_PREFIX):
                self._tested()
            return
        if not self._is_waking:
            self._is_waking = True
            self._wake_ups.append(None)
        if image_id not in self._waiting:
            if len(self._waiting) < self._most:
                self._waiting[image_id] = None
            else:
                self._dropped += 1
        if len(self._waiting) >= self._many and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WITHIN, self._report)

    def __len__(self) -> int:
        """Return the number of wake-ups, 0 or 1."""
        return len(self._wake_ups)

    def pop(self, index: int) -> None:
        """Remove the wake-up, which aiopg puts into its queue."""
        return self._wake_ups.pop(index)

    def woken(self) -> None:
        """Send the next wake-up for the next id. To be called after a wake-up came out of aiopg's queue."""
        self._is_waking = False

    def take(self, most: int) -> list[str]:
        """Remove and return up to ``most`` ids, those that waited longest. Return an empty list when no id waits."""
        taken = list(islice(self._waiting, most))
        for image_id in taken:
            del self._waiting[image_id]
        if not taken:
            self._is_logged = False
        return taken

    def close(self) -> None:
        """Call ``too_many`` no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _report(self) -> None:
        self._timer = None
        if not self._is_logged:
            self._is_logged = True
            logger.warning(
                "too many rows changed at once, every row is read again: waiting=%s dropped=%s",
                len(self._waiting),
                self._dropped,
            )
        dropped, self._dropped = self._dropped, 0
        self._too_many(dropped)
