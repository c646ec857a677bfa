"""The list of changes that nginx asks for: what the change log knows, with the times in milliseconds."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from json.encoder import encode_basestring_ascii as _quote
from operator import itemgetter
from typing import Final

from gateway.changes.change_log import TOLD_LAST, Change, ChangeLog

# A change is in the list again these milliseconds after it was heard: a cache may have fetched the old image meanwhile
# from a replica that had not heard of the change. Replicas that hear have dropped the image before the third time. A
# deaf one answers by the old row until its lease ends, which the last time is after: it may die then, and tell nobody.
_NAMED: Final = (0, 250, 1000, round(TOLD_LAST * 1000))
LISTED_AGAIN_FOR: Final = _NAMED[-1]
_MOST_LISTED: Final = 10_000
_AT_ONCE: Final = 500  # changes, in less than a millisecond
_NEVER: Final = float("-inf")
_Named = tuple[int, str | None]  # when in milliseconds, and which image; None: every image


@dataclass(frozen=True, slots=True)
class NginxList:
    """Makes the list of changed images, with times, that tells nginx which responses in its cache are out of date.

    name: the name of this process.
    settings: returns a name of the settings on which the answers of this process depend.
    epoch: Unix seconds at the zero of the steady clock. It stays as it was at the start of the process, so that the
    times of the list never jump.
    """

    log: ChangeLog
    name: str
    settings: Callable[[], str]
    epoch: float
    _: KW_ONLY
    most_listed: int = _MOST_LISTED

    def since(self, since: int, now: float, asked_at: int | None = None) -> Iterator[str]:
        """Yield the changes from ``since`` (Unix milliseconds) on, as JSON. An image id of null is every image.

        The list comes in pieces, some of them empty, between which the event loop may run: 20,000 changes in one step
        would hold it for 14 ms. It says what is known at the first piece; changes before the last piece are not in it.

        now: the time of the log.
        asked_at: the time of the asker's clock. ``since`` is by that clock, too, so that nobody compares two clocks.
        None: ``since`` is by the clock of this process. If that is later than now, the clocks differ by more than the
        asker allows for, and the list is not complete.

        All times of the list are Unix milliseconds of the steady clock of this process:

        - ``now``: the last whole millisecond before the list was made. What happens after it comes with the next list.
        - ``complete_since``: from when on no change was missed. Equal to ``now`` while changes are not heard.
        - ``heartbeat``: when the last that came back was sent, of the source whose last is the oldest, if there is any.
        - ``access``: when every decision about access became void.
        - ``more``: present if later changes are left out.
        """
        log, current = self.log, self._milliseconds(now)
        if asked_at is not None:
            since = current - (asked_at - since)
        last = current - 1
        is_ahead = asked_at is None and since > current
        complete_since = last if is_ahead else min(last, self._milliseconds(log.complete_since(now)))
        proven = [heartbeat.proven_at for heartbeat in log.heartbeats.values()]
        heartbeat = f'"heartbeat": {max(0, self._milliseconds(min(proven)))}, ' if proven else ""
        head = f'{{"gateway": "{self.name}", "now": {last}, "complete_since": {complete_since}, {heartbeat}"changes": ['
        tail = f'], "access": {self._milliseconds(log.rights_changed_at)}, "settings": "{self.settings()}"'
        everything = self._milliseconds(log.all_changed_at)
        oldest = max(since - LISTED_AGAIN_FOR, everything)  # the change of every image includes earlier ones
        found: list[_Named] = []
        changes = log.since(oldest / 1000 - self.epoch - 0.001)
        for start in range(0, len(changes), _AT_ONCE):
            found += self._named(changes[start : start + _AT_ONCE], oldest, since, current)
            yield ""
        if everything >= 0:
            named_at = max(everything + later for later in _NAMED if not later or everything + later < current)
            found += [(named_at, None)] if since <= named_at < current else []
        found.sort(key=itemgetter(0))
        for start in range(0, min(len(found), self.most_listed), _AT_ONCE):
            # ``json.dumps`` would block the event loop three times as long.
            items = [
                f'{{"image_id": {_quote(image_id) if image_id is not None else "null"}, "at": {at}}}'
                for at, image_id in found[start : min(start + _AT_ONCE, self.most_listed)]
            ]
            yield head + ", ".join(items)
            head = ", "
        more = ', "more": true' if len(found) > self.most_listed else ""
        yield f"{tail if found else head + tail}{more}}}\n"

    def last_change(self, image_id: str, now: float) -> tuple[float, bool]:
        """Return since when no change of the image is known, in Unix seconds, and whether it changed at that time."""
        log, change = self.log, self.log.change_of(image_id)
        changed_at = max(change.at if change is not None else log.all_changed_at, log.all_changed_at)
        is_known = changed_at > _NEVER
        return self.epoch + (changed_at if is_known else log.complete_since(now)), is_known

    def _named(self, changes: Sequence[tuple[str, Change]], oldest: int, since: int, current: int) -> Iterator[_Named]:
        """Yield the changes of whole milliseconds before ``current``, each with the last time at which it is named."""
        epoch = self.epoch
        times = 0  # the older a change, the more often it was named
        for image_id, (_, steady, before) in changes:
            at = round((epoch + steady) * 1000)  # there may be 20,000, five times a second: without a call for each
            if at < oldest:
                break
            while times < len(_NAMED) - 1 and at + _NAMED[times + 1] < current:
                times += 1
            named_at = at + _NAMED[times]
            for earlier in before:
                last = self._milliseconds(earlier) + LISTED_AGAIN_FOR
                if named_at < last < current:
                    named_at = last
            if since <= named_at < current:
                yield named_at, image_id

    def _milliseconds(self, steady: float) -> int:
        return round((self.epoch + steady) * 1000) if steady > _NEVER else -1
