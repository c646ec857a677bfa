"""What the connections that hear of changes call: notifications of Postgres, and messages of other replicas."""

from collections.abc import Sequence
from typing import Protocol

from gateway.changes.change_log import Scope, Source
from gateway.changes.heartbeat import Heartbeat


class Listener(Protocol):
    """Hears when messages of a source arrive, and when they do not."""

    def heartbeat_of(self, source: Source) -> Heartbeat:
        """Return the heartbeat to be sent on the way of this source's messages."""

    def listens(self, source: Source) -> None:
        """Messages arrive from now on. Earlier messages were missed."""

    def lost(self, source: Source) -> None:
        """No messages arrive from now on."""

    def heard_heartbeat(self, source: Source, text: str) -> None:
        """A heartbeat has come back, after everything that was sent before it was handled."""


class RowListener(Listener, Protocol):
    """Hears of changed rows."""

    async def rows_changed(self, image_ids: Sequence[str]) -> None:
        """The rows of these images have changed."""

    def too_many_rows(self, dropped: int) -> None:
        """So many changes wait that the last would be handled too late. ``dropped`` of them are not handled at all."""


class ReplicaListener(Listener, Protocol):
    """Hears what other replicas say. They have changed Redis already."""

    def drop_here(self, image_id: str) -> None:
        """The image, or the rights to it, have changed."""

    def use_new_url(self, image_id: str) -> None:
        """Redis has a new URL of the image, which has not changed."""

    def heard_sweep(self, scope: Scope) -> None:
        """Caches in front must forget all of this."""
