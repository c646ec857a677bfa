"""Messages between processes: late, lost, and together with a timer on purpose."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.loop import ExploringLoop, Process


class Network:
    """Says how long messages take. ``slowness``: seconds that each message takes in addition."""

    def __init__(self, loop: ExploringLoop, random: Random) -> None:
        self.loop = loop
        self.slowness = 0.0
        self._random = random.random
        self._uniform = random.uniform

    def delay(self) -> float:
        """Return seconds: mostly a millisecond, sometimes until the very instant of a timer."""
        chance = self._random()
        if chance < 0.85:
            return 0.0002 + chance * 0.001 + self.slowness
        if chance < 0.95:
            now, when = self.loop.time(), self.loop.next_timer()
            if when is not None and now < when < now + 0.5:
                return when - now
        return self._uniform(0.001, 0.05) + self.slowness


class Link:
    """A direction of a connection to a process: messages arrive in the order in which they were sent.

    is_cut: nothing arrives any more, and nobody is told, as when a machine or a cable is gone.
    """

    def __init__(self, network: Network, target: Process) -> None:
        self.is_cut = False
        self._network = network
        self._target = target
        self._messages: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._latest = 0.0

    def send(self, receive: Callable[..., object], *args: Any) -> None:
        """Let the target call ``receive``."""
        if self.is_cut or self._target.is_dead:
            return
        loop = self._network.loop
        self._latest = max(self._latest, loop.time() + self._network.delay())
        self._messages.append((receive, args))
        loop.call_as(self._target, self._latest, self._arrive)

    def _arrive(self) -> None:
        if not self.is_cut and self._messages:
            receive, args = self._messages.popleft()
            receive(*args)

    def cut(self) -> None:
        """Lose all that is under way, and all that comes."""
        self.is_cut = True
        self._messages.clear()
