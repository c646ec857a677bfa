"""Messages between processes: late, lost, held back, and together with a timer on purpose."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Final

from tests.simulation.loop import ExploringLoop, Process

_KEEPALIVE: Final = 45.0  # seconds that a cut lasts when both ends give their connections up
Way = tuple[str, str]  # the names of a client and of its server


class Network:
    """Says how long messages take. ``slowness``: seconds that each message takes in addition.

    A way may be cut for some time: either nothing passes, and is sent again later as TCP does, or connections are
    refused.
    """

    def __init__(self, loop: ExploringLoop, random: Random) -> None:
        self.loop = loop
        self.slowness = 0.0
        self._random = random.random
        self._uniform = random.uniform
        self._blocked: dict[Way, tuple[float, float]] = {}  # begin and end of the last cut
        self._refused: dict[Way, float] = {}

    def block(self, way: Way, seconds: float) -> None:
        """Let nothing pass between a client and a server for a while, in neither direction."""
        now, (began, end) = self.loop.time(), self._blocked.get(way, (0.0, 0.0))
        self._blocked[way] = began if end > now else now, max(end, now + seconds)

    def refuse(self, way: Way, seconds: float) -> None:
        """Let a server refuse each connection of a client for a while."""
        self._refused[way] = max(self._refused.get(way, 0.0), self.loop.time() + seconds)

    def passes_at(self, way: Way) -> float:
        """Return when messages pass: now, or at the end of a cut."""
        return max(self._blocked[way][1] if way in self._blocked else 0.0, self.loop.time())

    def is_given_up(self, way: Way, since: float) -> bool:
        """Return whether nothing has passed for so long that keepalive has ended a connection of this age."""
        began, end = self._blocked.get(way, (0.0, 0.0))
        return min(self.loop.time(), end) - max(began, since) > _KEEPALIVE

    def is_refused(self, way: Way) -> bool:
        """Return whether the server refuses connections of the client."""
        return self._refused.get(way, 0.0) > self.loop.time()

    def happens(self, chance: float) -> bool:
        """Return whether something happens that does so with this chance."""
        return self._random() < chance

    def delay(self) -> float:
        """Return seconds: mostly a millisecond, sometimes until the very instant of a timer.

        A change has eight messages on its way, with those of the change before, and is heard within a second.
        """
        chance = self._random()
        if chance < 0.85:
            return 0.0002 + chance * 0.001 + self.slowness
        if chance < 0.95:
            now, when = self.loop.time(), self.loop.next_timer()
            if when is not None and now < when < now + 0.25:
                return when - now
        return self._uniform(0.001, 0.05) + self.slowness


class Link:
    """A direction of a connection to a process: messages arrive in the order in which they were sent.

    way: the two ends.
    is_cut: nothing arrives any more, and nobody is told, as when a machine or a cable is gone.
    """

    def __init__(self, network: Network, target: Process, way: Way) -> None:
        self.is_cut = False
        self.way = way
        self._network = network
        self._target = target
        self._messages: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._latest = 0.0

    def send(self, receive: Callable[..., object], *args: Any) -> None:
        """Let the target call ``receive``."""
        if self.is_cut or self._target.is_dead:
            return
        loop = self._network.loop
        self._latest = max(self._latest, self._network.passes_at(self.way) + self._network.delay())
        self._messages.append((receive, args))
        loop.call_as(self._target, self._latest, self._arrive)

    def _arrive(self) -> None:
        if self.is_cut or not self._messages:
            return
        if (passes_at := self._network.passes_at(self.way)) > self._network.loop.time():
            self._latest = max(self._latest, passes_at)
            self._network.loop.call_as(self._target, passes_at, self._arrive)
        else:
            receive, args = self._messages.popleft()
            receive(*args)

    def cut(self) -> None:
        """Lose all that is under way, and all that comes."""
        self.is_cut = True
        self._messages.clear()
