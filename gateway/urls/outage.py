"""The rules of an outage: what is served while rows cannot be read, and who asks for rows meanwhile.

A row cannot be read while Postgres does not answer this gateway, whether it answers others or not. The image may then
have changed unheard. So it is served *unread*: ``SignedImage.unread`` goes with it, and no cache in front keeps the
answer. So no cache needs to be corrected later.
"""

from typing import Final, NamedTuple

from gateway.changes.entry_trust import EntryTrust, Now, ReadRow
from gateway.presign.signer import SignedImage

_PAUSE: Final = 1.0  # seconds after a row could not be read
_ASKS_FOR: Final = 5.0  # seconds for which one look-up asks alone


class CachedEntry(NamedTuple):
    """An entry of memory or of Redis, however old. ``may_be_used``: COS accepts its URL for long enough."""

    image: SignedImage
    may_be_used: bool


class Outage:
    """Decides, without I/O and without a clock, how look-ups go on while rows cannot be read.

    Asking: a look-up that has nothing to serve always asks for its row. Of the others, one at a time asks, and none for
    a second after a failure.

    Serving: of the entries in memory and in Redis, the one whose row was read later. If its URL has ended, the other
    entry is served, provided that both have the same row. An image that is known to have changed, or to be missing, is
    not served.

    Keeping: an unread image stays in memory for a second. Then the stores are asked again.

    is_on: whether rows could not be read the last time.
    """

    def __init__(self, trust: EntryTrust) -> None:
        self.is_on = False
        self._trust = trust
        self._asks_at = 0.0

    # Inputs

    def read_failed(self, now: float) -> None:
        """Note that rows could not be read, at ``now`` by the log's clock."""
        self.is_on = True
        self._asks_at = now + _PAUSE

    def ended(self) -> None:
        """Note that rows were read, or that what failed before says nothing about rows from now on."""
        self.is_on = False

    # Questions

    def may_ask(self, now: float) -> bool:
        """Return whether a look-up that has something to serve asks for its row. In an outage, one at a time does."""
        if self.is_on:
            if now < self._asks_at:
                return False
            self._asks_at = now + _ASKS_FOR
        return True

    def served_without_row(
        self, in_memory: CachedEntry | None, in_redis: CachedEntry | None, now: Now, *, was_missing: bool
    ) -> SignedImage | None:
        """Return the unread image to serve. None: there is none.

        in_memory: a change that was heard has dropped it.
        in_redis: it may be older than what was read here, because its change came while nobody listened.
        was_missing: the last look-up here found no such image.
        """
        if in_redis is not None and self.has_changed(in_redis.image, now):
            in_redis = None
        entries = [entry for entry in (in_memory, in_redis) if entry is not None]
        if was_missing or not entries:
            return None
        latest = max(entries, key=lambda entry: entry.image.read_at)
        for entry in (latest, *entries):
            if entry.may_be_used and entry.image.record == latest.image.record:
                return entry.image.as_unread()
        return None

    def has_changed(self, image: SignedImage, now: Now) -> bool:
        """Return whether the image is known to have changed since its row was read."""
        return self._trust.has_changed(read_row(image), now)


def unread_for(usable_for: float) -> float:
    """Return for how many seconds an unread image stays in memory. ``usable_for``: the seconds its URL may be used."""
    return min(_PAUSE, usable_for)


def read_row(image: SignedImage) -> ReadRow:
    """Return which row the image has, and when it was read."""
    return ReadRow(image.record.image_id, image.rendition, image.read_at)
