"""Request log: requests received, their connections and headers."""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.cos_emulator.request import CosRequest

_SECRET_HEADERS = frozenset({"authorization", "x-cos-security-token"})
_SECRET_PARAMS = frozenset({"sign", "x-cos-security-token"})


@dataclass(slots=True)
class LoggedRequest:
    """One request. Written to while it is answered; complete once ``finished``."""

    method: str
    bucket: str | None
    key: str
    host: str
    peer: tuple[str, int]
    """Address and port of the client's end: requests with equal peers came over one connection."""
    headers: dict[str, str]
    """By lower-case name; credentials are left out, their names stay with the value ``***``."""
    query: dict[str, str]
    """Without signature and token."""
    status: int | None = None
    """None while nothing was answered, and for good if the connection was reset instead."""
    bytes_sent: int = 0
    """Body bytes handed to the socket; what the kernel holds for a slow client counts as sent."""
    client_left: bool = False
    """The client closed before it had the whole answer."""
    finished: bool = False

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")


@dataclass
class RequestLog:
    """The latest ``capacity`` requests, oldest first."""

    capacity: int = 10_000
    requests: deque[LoggedRequest] = field(init=False)

    def __post_init__(self) -> None:
        self.requests = deque(maxlen=self.capacity)
        self._peers: set[tuple[str, int]] = set()
        self._changed = asyncio.Event()

    @property
    def connections(self) -> int:
        """Distinct connections that carried a request."""
        return len(self._peers)

    def of(self, key: str, method: str | None = None) -> list[LoggedRequest]:
        """The requests of one object, oldest first; with ``method``, only those."""
        return [seen for seen in self.requests if seen.key == key and method in {None, seen.method}]

    def clear(self) -> None:
        """Remove all entries; a request in progress still completes its own entry."""
        self.requests.clear()
        self._peers.clear()

    async def arrived(self, count: int = 1) -> None:
        """Wait until the request log holds so many requests, answered or not."""
        while len(self.requests) < count:
            self._changed.clear()
            await self._changed.wait()

    async def settled(self) -> None:
        """Wait until every request in the request log is finished: a client may have its bytes a moment before.

        An answer that hangs keeps it waiting, until its client leaves or the emulator stops.
        """
        while any(not seen.finished for seen in self.requests):
            self._changed.clear()
            await self._changed.wait()

    def open(self, request: CosRequest, bucket: str | None, peer: tuple[str, int]) -> LoggedRequest:
        """Record a request when it arrives."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = LoggedRequest(
            method=request.method,
            bucket=bucket,
            key=request.key,
            host=request.host,
            peer=peer,
            headers={name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()},
            query={n: v for n, v in request.query if n not in _SECRET_PARAMS and not n.startswith("q-")},
        )
        self._peers.add(peer)
        self.requests.append(seen)
        self._changed.set()
        return seen

    def close(self, seen: LoggedRequest) -> None:
        """Mark the request as finished: answered or abandoned."""
        seen.finished = True
        self._changed.set()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON body of ``GET /.emulator/journal``."""
        return {"connections": self.connections, "requests": [asdict(seen) for seen in self.requests]}
