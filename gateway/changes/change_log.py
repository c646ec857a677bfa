"""The change log: which images have changed, since when changes are heard, and whether they are heard now."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from itertools import takewhile
from typing import Final, NamedTuple, Protocol

from gateway.changes.heartbeat import LEASE, Heartbeat

_MOST_KEPT: Final = 20_000  # images, about 5 MB
# Seconds for which nginx may ask for a change. If a younger one must be forgotten, every image counts as changed.
_LISTED_FOR: Final = 30.0
# Seconds after which the list for nginx names a change for the last time. The lease of every replica has ended by then.
TOLD_LAST: Final = LEASE + 0.25
# Seconds that an answer may wait while changes are not heard: the row that it has may have been used at the very end of
# the lease, and the second purge of caches in front leaves three seconds after that.
_MAY_WAIT: Final = 2.0
_CLOSE: Final = 1.0  # seconds; the last of changes within them stands for the others
_NEVER: Final = float("-inf")
_ALWAYS: Final = float("inf")


class Source(Enum):
    """A way by which this process hears of changed images: Postgres's notifications, or other replicas' messages."""

    ROWS = "rows"
    REPLICAS = "replicas"


class Scope(Enum):
    """What caches in front (nginx, CDNs) forget of all images: decisions about access alone, or copies, too."""

    DECISIONS = "decisions"
    IMAGES = "images"


class Change(NamedTuple):
    """A change of an image: its number in the change log, and when it was heard, in seconds of the log's clock.

    before: the times of earlier changes that nginx had still to be sent once more.
    """

    number: int
    at: float
    before: tuple[float, ...] = ()


class Cache(Protocol):
    """A cache of this process that drops changed images."""

    def drop(self, image_id: str) -> None:
        """Use nothing that was known about the image before: it has changed."""

    def drop_all(self) -> None:
        """Read every row again before it is used: changes may have been missed. Nothing need be removed."""


_NO_CHANGE: Final = Change(0, _NEVER)


class ChangeLog:
    """Remembers the latest change of each image that this process hears of, and drops the image from its caches.

    It does no I/O and has no clock: its methods get the time in seconds of ``boot_time``, which never goes back,
    ignores corrections, and also runs while the machine is suspended. Of more than ``most_kept`` images the oldest
    changes are forgotten.

    A reader that keeps a row takes the ``number`` of the log first. The row may be kept only if the image has not
    ``changed_since`` that number.

    sources: where this process listens.
    name: names this process in heartbeats, unlike any other.

    number: of the newest change.
    rows_trusted_until: until when a cached row may be used without reading it again: the end of the lease of the
    heartbeats among notifications. Without ``Source.ROWS`` rows in caches live for their own time.
    rows_missed: the last time when changes of rows may have been missed. Rows read before are not trusted.
    forgotten: the newest change that is not kept any more.
    all_changed_at, rights_changed_at: when every image was another one for caches in front, and when every decision
    about access became void.
    unpublished: what must still be sent to other replicas, since nginx asks any of them.
    serves: whether this process serves, so that caches in front may have old images of it after a gap.
    """

    def __init__(self, sources: Iterable[Source], name: str, now: float, *, most_kept: int = _MOST_KEPT) -> None:
        self.heartbeats = {source: Heartbeat(name, now) for source in sources}
        self.number = 0
        self.rows_trusted_until = _NEVER if Source.ROWS in self.heartbeats else _ALWAYS
        self.forgotten = self.rows_missed = _NO_CHANGE
        self._all_dropped = 0
        self._most_kept = most_kept
        self._latest: OrderedDict[str, Change] = OrderedDict()
        self._caches: list[Cache] = []
        self._observers: list[Callable[[], None]] = []
        self._listening_since: dict[Source, float] = {}
        self._untried = set(self.heartbeats)
        self._unproven: set[Source] = set()  # subscribed to, and no heartbeat has come back since
        self._known_since = self.rights_changed_at = now
        self.all_changed_at = _NEVER
        self.unpublished = {Scope.DECISIONS}  # the process before may have had other settings
        self.serves = False

    def add_cache(self, cache: Cache) -> None:
        """Drop changed images from this cache, too."""
        self._caches.append(cache)

    def add_observer(self, observer: Callable[[], None]) -> None:
        """Call ``observer`` after each input by which the list for nginx becomes another one."""
        self._observers.append(observer)

    # Inputs

    def image_changed(self, image_id: str, now: float) -> None:
        """Note that the row of the image, or the rights to it, have changed."""
        self.number += 1
        earlier = self._latest.get(image_id)
        self._latest[image_id] = Change(self.number, now, _still_told(earlier, now) if earlier is not None else ())
        self._latest.move_to_end(image_id)
        if len(self._latest) > self._most_kept:
            _, self.forgotten = self._latest.popitem(last=False)
            if now - self.forgotten.at < _LISTED_FOR:
                self.all_changed_at = now
            else:
                self._known_since = max(self._known_since, self.forgotten.at + _LISTED_FOR)
        for cache in self._caches:
            cache.drop(image_id)
        self._tell()

    def sweep(self, scope: Scope, now: float) -> None:
        """Make caches in front forget, and leave it in ``unpublished``: nginx may ask any replica."""
        self.unpublished.add(scope)
        self.heard_sweep(scope, now)

    def heard_sweep(self, scope: Scope, now: float) -> None:
        """Make caches in front forget that ask this process."""
        if scope is Scope.IMAGES:
            self.all_changed_at = now
        # A thousandth later than the time before: nginx compares milliseconds.
        self.rights_changed_at = max(now, self.rights_changed_at + 0.001)
        self._tell()

    def missed(self, source: Source, now: float) -> None:
        """Note that changes of ``source`` may have been missed until now.

        What replicas say is also in Redis, so that a missed message makes only the memory of this process old.
        """
        self._drop_all(source, now)
        if self.serves:  # caches in front may have got old images from this process
            self.all_changed_at = now
        self._tell()

    def listens(self, source: Source, now: float) -> None:
        """Note that messages of ``source`` arrive from now on. They are relied on when a heartbeat has come back.

        Caches in front may have got old images since the last subscription that worked. After one on which no heartbeat
        came back there are none: nothing was trusted. So a pooler that forgets each subscription empties no cache.
        """
        self.heartbeats[source].begin(now)
        self._listening_since[source] = now
        self._trust_rows()
        self._drop_all(source, now)
        is_swept = source in self._unproven
        self._unproven.add(source)
        if self.serves and not is_swept:
            self.sweep(Scope.IMAGES, now)
        else:
            self.heard_sweep(Scope.DECISIONS, now)

    def lost(self, source: Source, problem: str | None = None) -> None:
        """Note that messages of ``source`` do not arrive from now on, because of ``problem``."""
        self.heartbeats[source].stop()
        self.heartbeats[source].problem = problem
        self._untried.discard(source)
        self._trust_rows()
        self._tell()

    def heartbeat(self, source: Source, text: str) -> None:
        """Note a heartbeat that came back. Heartbeats of other processes are ignored."""
        if self.heartbeats[source].receive(text):
            self._untried.discard(source)
            self._trust_rows()
            if source in self._unproven:
                self._unproven.discard(source)
                self._tell()

    def advance(self) -> int:
        """Return a number between those of the changes before and after now."""
        self.number += 1
        return self.number

    # Questions

    def changed_since(self, image_id: str, number: int) -> bool:
        """Return whether the image has changed, or may have, since the log had this number."""
        return self._latest.get(image_id, self.forgotten).number > number

    def missed_since(self, number: int) -> bool:
        """Return whether changes may have been missed since the log had this number."""
        return self._all_dropped > number

    def change_of(self, image_id: str) -> Change | None:
        """Return the latest known change of the image."""
        return self._latest.get(image_id)

    def changed_at(self, image_id: str) -> float:
        """Return when the image may have changed last."""
        return self._latest.get(image_id, self.forgotten).at

    def has_heard(self, image_id: str, since: float) -> bool:
        """Return whether a change of the image was heard since that time."""
        return self._latest.get(image_id, _NO_CHANGE).at >= since

    def may_have_missed(self, since: float, now: float) -> bool:
        """Return whether an answer that was begun at that time may lack a change that this log does not know."""
        is_unheard = now >= max(self.rows_trusted_until, since + _MAY_WAIT)
        return is_unheard or max(self.rows_missed.at, self.forgotten.at) >= since

    def since(self, at: float) -> list[tuple[str, Change]]:
        """Return the images that have changed since that time and their latest changes, the newest first."""
        return list(takewhile(lambda item: item[1].at >= at, reversed(self._latest.items())))

    def has_tried(self) -> bool:
        """Return whether each source has been heard once, or could not be heard."""
        return not self._untried

    def hears(self, now: float) -> bool:
        """Return whether the heartbeats of every source come back."""
        return all(now < heartbeat.lease_until for heartbeat in self.heartbeats.values())

    def complete_since(self, now: float) -> float:
        """Return from when on no change was missed: ``now`` while a source is not heard."""
        return max(self._known_since, *self._listening_since.values(), _NEVER) if self.hears(now) else now

    def _drop_all(self, source: Source, now: float) -> None:
        self.number += 1
        self._all_dropped = self.number
        if source is Source.ROWS:
            self.rows_missed = Change(self.number, now)
        for cache in self._caches:
            cache.drop_all()

    def _trust_rows(self) -> None:
        if (heartbeat := self.heartbeats.get(Source.ROWS)) is not None:
            self.rows_trusted_until = heartbeat.lease_until

    def _tell(self) -> None:
        for observer in self._observers:
            observer()


def _still_told(earlier: Change, now: float) -> tuple[float, ...]:
    """Return the times of a change and of earlier ones that nginx must be sent once more, at most two a second."""
    times = [at for at in (*earlier.before, earlier.at) if now - at < TOLD_LAST]
    if len(times) > 2 and times[-1] - times[-3] < _CLOSE:
        del times[-2]
    return tuple(times)


class RowListener(Protocol):
    """What ``ChangeFeed`` calls with the ids of changed rows. Its ``log`` hears whether changes of rows arrive."""

    @property
    def log(self) -> ChangeLog: ...

    async def rows_changed(self, image_ids: Sequence[str]) -> None: ...

    def gap_ended(self) -> None:
        """Changes of rows were not notified until now."""

    def too_many_rows(self, dropped: int) -> None:
        """So many changes wait that the last would be handled too late. ``dropped`` of them are not handled at all."""
