"""Which entries of Redis may be used without reading their rows again, and which while no row can be read."""

from collections.abc import Collection
from typing import Final, NamedTuple

from gateway.changes.change_log import ChangeLog
from gateway.changes.heartbeat import LEASE

# Seconds by which the date of a row may be later than its content. Clocks of two replicas may be five seconds apart,
# and until its lease ends, a replica that has not heard of a change may read the old row from a standby.
_UNSURE: Final = max(5.0, LEASE)
_NEVER: Final = float("-inf")


class Now(NamedTuple):
    """The present time by the change log's clock, and by COS's (Unix seconds), by which all replicas date rows."""

    log: float
    cos: float


class ReadRow(NamedTuple):
    """When the row behind a cached URL was read, in whole seconds of COS's clock. No ``rendition``: the original."""

    image_id: str
    rendition: str | None
    read_at: int


class EntryTrust:
    """Decides whether a cached URL from Redis is used: not if the image's row has changed since, or may have.

    Redis refuses writes, or loses its last ones: a replica that was behind takes over, or a server loads a snapshot.
    Then it has the entry of a changed image again. So the log's latest changes count, not what Redis has. Changes that
    the log has forgotten count once an image could not be dropped from Redis, and not before: a statement that changes
    a million rows must not send every other image to Postgres.
    """

    def __init__(self, log: ChangeLog) -> None:
        self.log = log
        self._after = _NEVER
        self._renditions_after: dict[str | None, float] = {}  # only those that a reload has changed
        self._drops_failed = False

    def may_be_used(self, row: ReadRow, now: Now) -> bool:
        """Return whether an entry may be used without reading its row again."""
        log = self.log
        if now.log >= log.rows_trusted_until or row.read_at > now.cos + _UNSURE:
            return False
        after = max(log.rows_missed.at, self._after)
        if self._renditions_after:
            after = max(after, self._renditions_after.get(row.rendition, _NEVER))
        return not _is_read_before(row, after, now) and not self.has_changed(row, now)

    def has_changed(self, row: ReadRow, now: Now) -> bool:
        """Return whether the image is known to have changed. Then its row is not used, even while Postgres is away."""
        change = self.log.change_of(row.image_id)
        if change is None:
            return self._drops_failed and _is_read_before(row, self.log.forgotten.at, now)
        return _is_read_before(row, change.at, now)

    def drop_failed(self) -> None:
        """Note that Redis did not drop a changed image: it may come back with it long after the change."""
        self._drops_failed = True

    def reread_all(self, now: float) -> None:
        """Trust no entry whose row was read before ``now``, a time of the log."""
        self._after = now

    def reread_renditions(self, renditions: Collection[str | None], now: float) -> None:
        """Trust no entry of these renditions (None: the original) with a row from before ``now``: they have changed.

        While a rendition is not configured, a change of a row does not drop its entries, so earlier ones may be old.
        """
        self._renditions_after.update(dict.fromkeys(renditions, now))


def _is_read_before(row: ReadRow, at: float, now: Now) -> bool:
    """Return whether the row may have been read before ``at``, a time of the log."""
    return row.read_at < at - now.log + now.cos + _UNSURE
