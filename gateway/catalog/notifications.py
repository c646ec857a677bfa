"""The notifications of a connection that wait to be handled: each once, in their order, and at most 100,000."""

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
# Of the heartbeats of all replicas. Earlier releases ignore payloads that begin so.
HEARTBEAT_PREFIX: Final = "!heartbeat "
_WITHIN: Final = 0.2  # seconds from an id that comes too late to the call of ``too_many``


class Notification(Protocol):
    """What psycopg2 makes of a notification."""

    payload: str


class Notifications:
    """Receives the notifications of a connection, in the place of psycopg2's list ``connection.notifies``.

    psycopg2 accepts any object with ``append`` in place of the list. aiopg moves the items of the list into its own
    queue, whose getter loses an item if it is cancelled in the pass of the event loop in which the item arrives. So
    aiopg finds nothing here (``__len__``), and its queue stays empty.

    ``arrived`` is set by each notification. Whoever waits for it clears it before ``take``.

    While ``many`` payloads wait, the last of them would be handled too late. Then ``too_many`` is called, at most 0.2
    seconds after each payload, with the number of payloads that were dropped since its last call. At most ``most``
    payloads are kept.
    """

    def __init__(self, too_many: Callable[[int], None], *, many: int = 5_000, most: int = 100_000) -> None:
        self.arrived = asyncio.Event()
        self._too_many = too_many
        self._many = many
        self._most = most
        self._waiting: dict[str, None] = {}
        self._dropped = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_logged = False

    def append(self, notification: Notification) -> None:
        """Keep the payload of a notification if it is the id of an image, about the trigger, or a heartbeat.

        psycopg2 calls this for each notification, on the event loop: it must not block and not raise.
        """
        payload = notification.payload
        if not payload.startswith((TEST_PREFIX, HEARTBEAT_PREFIX)):
            try:
                payload = parse_image_id(payload)
            except InvalidImageId:
                return
        if payload not in self._waiting:
            if len(self._waiting) < self._most:
                self._waiting[payload] = None
            else:
                self._dropped += 1
        if len(self._waiting) >= self._many and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WITHIN, self._report)
        self.arrived.set()

    def __len__(self) -> int:
        """Return 0: aiopg has nothing to move."""
        return 0

    def __contains__(self, payload: str) -> bool:
        """Return whether the payload waits."""
        return payload in self._waiting

    def take(self, most: int) -> list[str]:
        """Remove and return up to ``most`` payloads, those that waited longest. Empty when none waits."""
        taken = list(islice(self._waiting, most))
        for payload in taken:
            del self._waiting[payload]
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
