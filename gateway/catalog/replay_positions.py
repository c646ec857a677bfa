"""Positions in the log of the primary: until where a standby must have come, so that its row of an image is current.

A standby replays the log of its primary (PostgreSQL documentation, "Hot Standby"). Notifications come from the primary,
so a changed image is known before a standby has its new row.
"""

from collections.abc import Callable, Iterable
from typing import Final

import aiopg

from gateway.concurrency.clocks import boot_time

_MOST: Final = 100_000  # ids, about 10 MB
_TIMELINE: Final = 2**64  # bytes, more than a log has
_END: Final = _TIMELINE - 1  # of the log of a timeline
NOWHERE: Final = 2**32 * _TIMELINE  # after the end of every timeline
# The insert position is behind the record of every transaction that has sent its notification. With
# synchronous_commit = off, the record may not have been written yet. The name of a file starts with its timeline.
_POSITION: Final = "SELECT pg_walfile_name(lsn), pg_wal_lsn_diff(lsn, '0/0') FROM pg_current_wal_insert_lsn() lsn"
# Every role may read the control file. After a fail-over its timeline is the former one, until the next restartpoint.
_REPLAYED: Final = (
    "SELECT min_recovery_end_timeline, pg_wal_lsn_diff(COALESCE(pg_last_wal_replay_lsn(), '0/0'), '0/0') "
    "FROM pg_control_recovery() WHERE pg_is_in_recovery()"
)


class ReplayPositions:
    """Remembers how far a Postgres standby must have replayed the primary's log (WAL) to have an image's current row.

    A position is a timeline of the log, and in it the number of bytes from the beginning. The next primary begins a
    timeline. A standby that had more of the former one cannot follow it, and its rows stay as they were. Of more than
    100,000 images, the oldest changes are forgotten, and their position then counts for every image. At first every
    position is unknown.

    are_told: whether Postgres notifies of changes. If it does not, no row is ever known to have changed.
    steady: the clock of the heartbeats, the notifications that prove that changes arrive.
    losses: how often positions became unknown.
    heard_until: until when no notification can be missing. Later no position is known to be behind every change: a
    standby may have an old row, which would be dated after its change.
    """

    def __init__(self, *, are_told: bool, steady: Callable[[], float] = boot_time) -> None:
        self._steady = steady
        self.heard_until = float("-inf") if are_told else float("inf")
        self._positions: dict[str, int] = {}  # the oldest change first
        self._of_all = NOWHERE if are_told else 0
        self.losses = 0

    def changed(self, image_ids: Iterable[str], position: int) -> None:
        """Remember that the images changed before ``position``, which may have been read before a later one."""
        for image_id in image_ids:
            self._positions[image_id] = max(position, self._positions.pop(image_id, 0))
        while len(self._positions) > _MOST:
            self._of_all = max(self._of_all, self._positions.pop(next(iter(self._positions))))

    def all_changed(self, position: int) -> None:
        """Remember that any image may have changed before ``position``, and forget the earlier changes.

        Later ones are kept: ``position`` may have been read before theirs, and arrive after it.
        """
        self._positions = {image_id: at for image_id, at in self._positions.items() if at > position}
        self._of_all = position

    def lost(self) -> None:
        """Remember that any image may have changed at an unknown position, until the next ``all_changed``."""
        self._of_all = NOWHERE
        self.losses += 1

    def is_lost(self) -> bool:
        """Return whether the position of changes is unknown: no standby is known to have them."""
        return self._of_all == NOWHERE

    def are_in(self, replayed: int, image_ids: Iterable[str]) -> bool:
        """Return whether a server that has replayed the log until a position has the current rows of these images.

        A server that is no standby has them also while the position of changes is unknown.
        """
        needed = self.of(image_ids)
        return replayed >= needed if needed < NOWHERE else replayed % _TIMELINE == _END

    def of(self, image_ids: Iterable[str]) -> int:
        """Return the position that a standby must have replayed, so that its rows of these images are current."""
        if self._steady() >= self.heard_until:
            return NOWHERE
        return max((self._of_all, *(self._positions.get(image_id, 0) for image_id in image_ids)))


async def read_position(cursor: aiopg.Cursor) -> int:
    """Return the present position of a primary. Every change that it has notified is before this position."""
    await cursor.execute(_POSITION)
    file, position = await cursor.fetchone()
    return int(file[:8], 16) * _TIMELINE + int(position)


async def read_replayed(cursor: aiopg.Cursor) -> int:
    """Return the position until which a standby has the changes. Any other server has every change of its timeline."""
    await cursor.execute(_REPLAYED)
    if (found := await cursor.fetchone()) is None:
        return await read_position(cursor) | _END
    timeline, position = found
    return int(timeline) * _TIMELINE + int(position)
