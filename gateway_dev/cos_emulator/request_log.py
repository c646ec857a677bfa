"""Request log: requests received, their connections and headers."""

import asyncio
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway_dev.cos_emulator.request import CosRequest

_SECRET_HEADERS = frozenset({"authorization", "x-cos-security-token"})
_SECRET_PARAMS = frozenset({"sign", "x-cos-security-token"})


@dataclass(slots=True)
class LoggedRequest:
    """One request. Its fields change while it is answered, until ``finished``."""

    method: str
    bucket: str | None
    key: str
    host: str
    peer: tuple[str, int]
    """Address and port of the client; requests with equal peers share a connection."""
    headers: dict[str, str]
    """By lower-case name; the values of credentials are replaced by ``***``."""
    query: dict[str, str]
    """Without signature and token."""
    status: int | None = None
    """None until an answer starts; stays None if the connection is reset before."""
    bytes_sent: int = 0
    """Body bytes written to the socket, including those that the kernel still buffers for a slow client."""
    client_left: bool = False
    """The client disconnected before the end of the answer."""
    finished: bool = False

    @property
    def range(self) -> str | None:
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
        """Return the requests of an object, oldest first. ``method`` None means all methods."""
        return [entry for entry in self.requests if entry.key == key and method in {None, entry.method}]

    def clear(self) -> None:
        """Remove all entries. A request in progress still completes its own entry."""
        self.requests.clear()
        self._peers.clear()

    async def arrived(self, count: int = 1) -> None:
        """Wait until the log holds ``count`` requests, answered or not."""
        while len(self.requests) < count:
            self._changed.clear()
            await self._changed.wait()

    async def settled(self) -> None:
        """Wait until every request in the log is finished, which may be after the client has received its answer.

        An answer that hangs finishes when its client disconnects or the emulator stops.
        """
        while any(not entry.finished for entry in self.requests):
            self._changed.clear()
            await self._changed.wait()

    def open(self, request: CosRequest, bucket: str | None, peer: tuple[str, int]) -> LoggedRequest:
        """Record a request when it arrives."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        entry = LoggedRequest(
            method=request.method,
            bucket=bucket,
            key=request.key,
            host=request.host,
            peer=peer,
            headers={name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()},
            query={n: v for n, v in request.query if n not in _SECRET_PARAMS and not n.startswith("q-")},
        )
        self._peers.add(peer)
        self.requests.append(entry)
        self._changed.set()
        return entry

    def close(self, entry: LoggedRequest) -> None:
        """Mark the request as finished: answered or abandoned."""
        entry.finished = True
        self._changed.set()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON body of ``GET /.emulator/journal``."""
        return {"connections": self.connections, "requests": [asdict(entry) for entry in self.requests]}
