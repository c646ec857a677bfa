"""A change log of a process that hears no changes, and one that records what the connections tell it."""

import asyncio
from collections.abc import Sequence

from gateway.changes.change_log import ChangeLog, Source
from gateway.changes.heartbeat import Heartbeat
from gateway.concurrency.clocks import boot_time


def quiet_log() -> ChangeLog:
    """The log of a process that listens nowhere: rows in its caches live for their own time."""
    return ChangeLog([], "test", boot_time())


class Recorder(ChangeLog):
    """Puts into ``told``, in their order: None where listening begins, the id of a changed image, ``url ID``.

    beats: the number of heartbeats that came back. starts, ends: how often listening began and ended.
    dropped: the arguments of ``too_many_rows``. gaps: how often rows were missed.
    """

    def __init__(self, *, every: float = 2.0, lease: float = 6.0) -> None:
        super().__init__(Source, "recorder", boot_time())
        self.heartbeats = {source: Heartbeat("recorder", boot_time(), every=every, lease=lease) for source in Source}
        self.told: asyncio.Queue[str | None] = asyncio.Queue()
        self.dropped: list[int] = []
        self.beats = self.starts = self.ends = self.gaps = 0

    @property
    def log(self) -> ChangeLog:
        """This log, for a feed of rows."""
        return self

    def listens(self, source: Source, now: float) -> None:
        """Record a start."""
        super().listens(source, now)
        self.starts += 1
        self.told.put_nowait(None)

    def lost(self, source: Source, problem: str | None = None) -> None:
        """Record an end."""
        super().lost(source, problem)
        self.ends += 1

    def heartbeat(self, source: Source, text: str) -> None:
        """Count a heartbeat of this recorder."""
        self.beats += self.heartbeats[source].receive(text)

    async def rows_changed(self, image_ids: Sequence[str]) -> None:
        """Record the ids."""
        for image_id in image_ids:
            self.told.put_nowait(image_id)

    def gap_ended(self) -> None:
        """Count a gap."""
        self.gaps += 1

    def too_many_rows(self, dropped: int) -> None:
        """Record the number."""
        self.dropped.append(dropped)

    def image_changed(self, image_id: str, now: float) -> None:
        """Record the id."""
        del now
        self.told.put_nowait(image_id)

    def use_new_url(self, image_id: str) -> None:
        """Record the id."""
        self.told.put_nowait(f"url {image_id}")
