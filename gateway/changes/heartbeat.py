"""The heartbeat: a message of this process's own that travels the way of a change, and proves that changes arrive."""

from typing import Final

EVERY: Final = 2.0  # seconds between two heartbeats
LEASE: Final = 6.0  # seconds from the sending of a heartbeat that came back, for which changes count as heard

_NEVER: Final = float("-inf")


class Heartbeat:
    """Proves that changes are heard: notes which messages come back that this process sends itself as changes are sent.

    Times are seconds of a clock that never goes back, and that also runs while the process is paused.

    name: names this process, unlike any other.
    lease_until: the end of the proof. It is compared with the time of use, so after a pause of the process it is over.
    problem: why listening ended last, if that is known and no heartbeat has come back since. None otherwise.
    """

    def __init__(self, name: str, now: float, *, every: float = EVERY, lease: float = LEASE) -> None:
        self.lease_until = self.proven_at = _NEVER
        self.problem: str | None = None
        self._name = name
        self._every = every
        self._lease = lease
        self._sent: dict[str, float] = {}
        self._number = 0
        self._due_at = _NEVER
        self._counts_from = now

    def begin(self, now: float) -> None:
        """Listening has begun, at first or again: only heartbeats sent from now on prove anything."""
        self.stop()
        self._due_at = now

    def stop(self) -> None:
        """Nothing is heard from now on."""
        self._sent.clear()
        self.lease_until = self.proven_at = _NEVER

    def age(self, now: float) -> float:
        """Return the seconds since the sending of the newest heartbeat that came back, at first since the start."""
        return now - self._counts_from

    def wait(self, now: float) -> float:
        """Return in how many seconds the next heartbeat is due."""
        return max(0.0, self._due_at - now)

    def send(self, now: float) -> str:
        """Return the heartbeat to be sent now, without spaces."""
        self._number += 1
        self._due_at = now + self._every
        text = f"{self._name}-{self._number}"
        self._sent[text] = now
        return text

    def withdraw(self, text: str) -> None:
        """Note that a heartbeat could not be sent."""
        self._sent.pop(text, None)

    def receive(self, text: str) -> bool:
        """Note a heartbeat that came back, and return whether it proves anything new."""
        if (sent_at := self._sent.get(text)) is None:
            return False
        self._sent = {other: at for other, at in self._sent.items() if at > sent_at}
        self.proven_at = self._counts_from = sent_at
        self.lease_until = sent_at + self._lease
        self.problem = None
        return True

    def is_lost(self, now: float) -> bool:
        """Return whether a heartbeat has not come back within a lease: the subscription is to be made anew."""
        return any(now - sent_at > self._lease for sent_at in self._sent.values())
