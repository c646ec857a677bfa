"""A change log of a process that hears no changes, and a listener that records what the connections tell it."""

import asyncio
from collections.abc import Sequence

from gateway.changes.change_log import ChangeLog, Scope, Source
from gateway.changes.heartbeat import Heartbeat
from gateway.concurrency.clocks import boot_time


def quiet_log() -> ChangeLog:
    """The log of a process that listens nowhere: rows in its caches live for their own time."""
    return ChangeLog([], "test", boot_time())


class Recorder:
    """Puts into ``told``, in their order: None where listening begins, the id of a changed image, ``url ID``.

    heartbeats: the number of heartbeats that came back. lost: how often listening ended.
    dropped: the arguments of ``too_many_rows``.
    """

    def __init__(self, *, every: float = 2.0, lease: float = 6.0) -> None:
        self.told: asyncio.Queue[str | None] = asyncio.Queue()
        self.swept: list[Scope] = []
        self.dropped: list[int] = []
        self.heartbeats = self.starts = self.lost_count = 0
        self.heartbeat = Heartbeat("recorder", boot_time(), every=every, lease=lease)

    def heartbeat_of(self, source: Source) -> Heartbeat:
        """Return the same one for both sources."""
        del source
        return self.heartbeat

    def listens(self, source: Source) -> None:
        """Record a start."""
        del source
        self.starts += 1
        self.heartbeat.begin(boot_time())
        self.told.put_nowait(None)

    def lost(self, source: Source) -> None:
        """Record an end."""
        del source
        self.lost_count += 1
        self.heartbeat.stop()

    def heard_heartbeat(self, source: Source, text: str) -> None:
        """Count a heartbeat of this recorder."""
        del source
        self.heartbeats += self.heartbeat.receive(text)

    async def rows_changed(self, image_ids: Sequence[str]) -> None:
        """Record the ids."""
        for image_id in image_ids:
            self.drop_here(image_id)

    def too_many_rows(self, dropped: int) -> None:
        """Record the number."""
        self.dropped.append(dropped)

    def drop_here(self, image_id: str) -> None:
        """Record the id."""
        self.told.put_nowait(image_id)

    def use_new_url(self, image_id: str) -> None:
        """Record the id."""
        self.told.put_nowait(f"url {image_id}")

    def heard_sweep(self, scope: Scope) -> None:
        """Record the scope."""
        self.swept.append(scope)
