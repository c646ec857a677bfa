"""The list of changes that nginx asks for: what this process has heard, with the times, in bounded memory."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from json.encoder import encode_basestring_ascii as _quote
from operator import itemgetter
from typing import Final

from gateway.concurrency.clocks import steady_time

# A change is in the list again these milliseconds after it was heard. A cache may have fetched the old image meanwhile
# from a replica that had not heard of the change: by the last time every replica has dropped the image.
_AGAIN: Final = 250
_LAST: Final = 1000
_MOST_KEPT: Final = 20_000
_REACH: Final = 30_000  # milliseconds that the list reaches back at least
_MOST_LISTED: Final = 10_000


class Source(Enum):
    """Where changes are heard: notifications of Postgres, and the invalidations of other replicas."""

    ROWS = "rows"
    REPLICAS = "replicas"


@dataclass(frozen=True, slots=True)
class ChangeList:
    """The changes since a time, oldest first, each with its time. ``has_more``: later changes are left out.

    gateway: the name of the process.
    now: the time of the list.
    complete_since: from when on no change was missed. Equal to ``now`` while changes are not heard.
    decisions_void_at: when every decision about access became void.
    settings: a name of the settings on which the answers of this process depend.
    An image id of None is every image. Times are Unix milliseconds of this process.
    """

    gateway: str
    now: int
    complete_since: int
    changes: tuple[tuple[str | None, int], ...]
    has_more: bool
    decisions_void_at: int
    settings: str

    def as_json(self) -> str:
        """Return the list as nginx reads it. ``json.dumps`` would block the event loop three times as long."""
        changes = ", ".join(
            [
                f'{{"image_id": {_quote(image_id) if image_id is not None else "null"}, "at": {at}}}'
                for image_id, at in self.changes
            ]
        )
        more = ', "more": true' if self.has_more else ""
        return (
            f'{{"gateway": "{self.gateway}", "now": {self.now}, "complete_since": {self.complete_since}, '
            f'"changes": [{changes}], "access": {self.decisions_void_at}, "settings": "{self.settings}"{more}}}\n'
        )


class HeardChanges:
    """Keeps the last change of each image, at most ``most_kept`` of them.

    More changes within half a minute become a change of every image.

    sources: where this process listens. Until it listens to each of them, the list is not complete.
    settings: a name of the settings on which the answers of this process depend. A reload replaces it.
    now: Unix seconds, which must never go back.
    """

    def __init__(
        self,
        sources: Iterable[Source],
        *,
        settings: str = "",
        now: Callable[[], float] | None = None,
        most_kept: int = _MOST_KEPT,
        most_listed: int = _MOST_LISTED,
    ) -> None:
        self.settings = settings
        self._name = secrets.token_hex(8)
        self._now = now if now is not None else steady_time()
        self._most_kept = most_kept
        self._most_listed = most_listed
        self._changes: OrderedDict[str | None, int] = OrderedDict()
        self._listening_since: dict[Source, int | None] = dict.fromkeys(sources)
        self._earliest = 0  # so that what comes after a list is later than the list, also within its millisecond
        self._untried = set(self._listening_since)
        self._are_tried = asyncio.Event()
        self._serves = False
        self._listeners: list[Callable[[], None]] = []
        self._kept_since = self._decisions_void_at = self._milliseconds()

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever the list has another answer than before, which time alone does not cause."""
        self._listeners.append(listener)

    def record(self, image_id: str | None) -> None:
        """Note that an image has changed. None: every image, which makes earlier changes superfluous."""
        now = self._milliseconds()
        if len(self._changes) >= self._most_kept and image_id not in self._changes:
            oldest, at = next(iter(self._changes.items()))
            if now - at < _REACH:
                image_id = None
            else:
                del self._changes[oldest]
                self._kept_since = at + _LAST + 1
        if image_id is None:
            self._changes.clear()
        self._changes[image_id] = now
        self._changes.move_to_end(image_id)
        self._tell()

    def void_decisions(self) -> None:
        """Note that every decision about access is void: other credentials or settings count from now on."""
        self._decisions_void_at = self._milliseconds()
        self._tell()

    def listens_to(self, source: Source) -> bool:
        """Note that changes of ``source`` are heard from now on, and return whether changes may have been missed.

        Then this process may have given caches old images, and the caller must record a change of every image.
        """
        self._listening_since[source] = self._milliseconds()
        self.void_decisions()
        self._has_tried(source)
        return self._serves

    def has_lost(self, source: Source) -> None:
        """Note that changes of ``source`` are not heard from now on."""
        self._listening_since[source] = None
        self._has_tried(source)
        self._tell()

    async def before_serving(self, timeout: float) -> None:
        """Wait for the first try to listen to each source, for ``timeout`` seconds. Afterwards this process serves."""
        if self._untried:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._are_tried.wait()
        self._serves = True

    def last_change(self, image_id: str) -> tuple[float, bool]:
        """Return since when the image has not changed, in Unix seconds, and whether that is the time of a change.

        Otherwise it is the time since which changes are known.
        """
        known = [at for at in (self._changes.get(image_id), self._changes.get(None)) if at is not None]
        return (max(known) / 1000, True) if known else (self.complete_since(self._milliseconds()) / 1000, False)

    def complete_since(self, now: int) -> int:
        """Return from when on no change was missed until ``now``: equal to ``now`` while changes are not heard."""
        since = self._listening_since.values()
        return max(self._kept_since, *(at if at is not None else now for at in since), 0)

    def since(self, since: int) -> ChangeList:
        """Return the changes from ``since`` (Unix milliseconds) on."""
        now = self._milliseconds()
        self._earliest = now + 1
        last_by, again_by = now - _LAST, now - _AGAIN
        found: list[tuple[int, str | None]] = []
        for image_id, at in reversed(self._changes.items()):
            if at + _LAST < since:
                break
            listed_at = at + _LAST if at <= last_by else at + _AGAIN if at <= again_by else at
            if listed_at >= since:
                found.append((listed_at, image_id))
        found.sort(key=itemgetter(0))
        listed = tuple((image_id, at) for at, image_id in found[: self._most_listed])
        has_more = len(found) > self._most_listed
        complete_since = self.complete_since(now)
        return ChangeList(self._name, now, complete_since, listed, has_more, self._decisions_void_at, self.settings)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _has_tried(self, source: Source) -> None:
        self._untried.discard(source)
        if not self._untried:
            self._are_tried.set()

    def _milliseconds(self) -> int:
        return max(int(self._now() * 1000), self._earliest)
