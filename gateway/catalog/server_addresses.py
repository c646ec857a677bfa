"""The servers of ``postgres.dsn``: their addresses, looked up off the event loop, and which of them is next."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiopg
import psycopg2
from psycopg2.extensions import parse_dsn

from gateway.concurrency.single_flight import SingleFlight
from gateway.concurrency.time_limits import loop_timeout
from gateway.net.ip_address import parse_ip

# Returns the addresses of a host name; raises ``OSError`` if it has none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]

_DEFAULT_PORT: Final = "5432"
_FRESH_FOR: Final = 5.0  # seconds; managed databases that change their address have names that live as long


async def system_addresses(host: str) -> Sequence[str]:
    """Return the addresses of a host by the system's resolver, in its order, as libpq would try them."""
    found = await asyncio.get_running_loop().getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Server:
    """A Postgres server to connect to. ``address``: empty for a Unix socket. Any other empty field: libpq's default."""

    host: str
    address: str
    port: str

    def __str__(self) -> str:
        where = f"{self.host or 'the default socket'}:{self.port or _DEFAULT_PORT}"
        return where if self.address in ("", self.host) else f"{where} ({self.address})"


class ServerFull(TimeoutError):
    """The next Postgres server has as many connections as the pool allows. It stays the next one."""


class ServerAddresses:
    """Chooses the Postgres server of each connection, since libpq must look up no name here and try no second server.

    libpq would block the event loop while it looks up a name. Its second server would have another socket, and aiopg
    waits for the first. So each connection is given one address (``hostaddr``; libpq's documentation,
    ``PQconnectStart``), of all addresses of all hosts in turn: after a failure the next connection is to the next
    server. The name stays in ``host``, because certificates are verified by name. With ``prefer-standby``, a standby is
    looked for in one round and any server in the next.

    A DSN with one address or socket is not changed. A DSN with ``hostaddr`` is not changed either, nor a DSN with a
    ``service``, whose file only libpq reads.

    All callers share a look-up, even when they give up waiting: a resolver that hangs occupies a single thread.

    name: the setting that has the DSN, for errors.
    """

    def __init__(
        self, dsn: str, timeout: float, resolve: Resolve = system_addresses, name: str = "postgres.dsn"
    ) -> None:
        parameters = parse_dsn(dsn)
        self.dsn: Final = dsn
        self.timeout: Final = timeout
        self._name = name
        self._resolve = resolve
        self._prefers_standby = _setting(parameters, "target_session_attrs") == "prefer-standby"
        places = self._places = _places(parameters)
        self._given = Server(*(_setting(parameters, name) for name in ("host", "hostaddr", "port")))
        self._has_names = any(_is_name(host) for host, _ in places)
        self.servers: Sequence[Server] = () if self._has_names else [Server(host, "", port) for host, port in places]
        self._turn = 0
        self._fresh_until = float("-inf")
        self._look_ups: SingleFlight[str, None] = SingleFlight("postgres-addresses")

    async def aclose(self) -> None:
        """End a look-up that still runs."""
        await self._look_ups.close()

    async def connect(self, connect: Callable[[], Awaitable[aiopg.Connection]]) -> aiopg.Connection:
        """Return what ``connect`` opens with ``parameters``, which is called until a server accepts, once for each.

        Raises the error of the last server: ``psycopg2.Error``, ``OSError`` or ``TimeoutError``.
        """
        tries = 0
        while True:
            await self.look_up()
            server = self.next
            try:
                return await connect()
            except ServerFull:
                raise
            except (psycopg2.OperationalError, OSError) as error:  # a time-out is an OSError, too
                if server == self.next:  # otherwise another caller has skipped it
                    self.skip()
                tries += 1
                if tries >= len(self.servers):
                    if isinstance(error, OSError):
                        raise
                    reason = " ".join(str(error).split())  # libpq does not always name the server
                    raise psycopg2.OperationalError(f"{self._name}, {server}: {reason}") from error

    async def look_up(self) -> None:
        """Look the hosts up, unless that was done lately. Raises ``OSError`` without an address or when it is late."""
        if not self._has_names or time.monotonic() < self._fresh_until:
            return
        try:
            async with loop_timeout(self.timeout):
                await self._look_ups.run(self._name, self._look_up)
        except TimeoutError:
            raise TimeoutError(f"the hosts of {self._name} were not looked up within {self.timeout:g} s") from None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters that lead a connection to ``next``."""
        if not self.servers:
            return {}
        server = self.next
        parameters = {"host": server.host, "hostaddr": server.address, "port": server.port}
        if self._prefers_standby:
            parameters["target_session_attrs"] = "any" if self._turn // len(self.servers) % 2 else "standby"
        return parameters

    @property
    def next(self) -> Server:
        """The server of the next connection; of a DSN that is not changed, what it says."""
        return self.servers[self._turn % len(self.servers)] if self.servers else self._given

    def skip(self) -> None:
        """Connect to the next server from now on."""
        self._turn += 1

    async def _look_up(self) -> None:
        answers = await asyncio.gather(*(self._addresses_of(host) for host, _ in self._places))
        servers = [
            Server(host, address, port)
            for (host, port), answer in zip(self._places, answers, strict=True)
            if not isinstance(answer, OSError)  # libpq, too, goes on with the next host
            for address in answer
        ]
        if not servers:
            raise next(answer for answer in answers if isinstance(answer, OSError))
        if servers != self.servers:
            self.servers, self._turn = servers, 0
        self._fresh_until = time.monotonic() + _FRESH_FOR

    async def _addresses_of(self, host: str) -> Sequence[str] | OSError:
        """Return the addresses of a host, "" for a socket, or the error of the look-up."""
        if not _is_name(host):
            return ["" if parse_ip(host) is None else host]
        try:
            return await self._resolve(host)
        except OSError as error:
            # Not its name: after a mistake in the DSN, a password stands where the host belongs.
            reason = error.strerror or type(error).__name__
            return OSError(f"a host of the DSN (its name is not shown) has no address: {reason}")


def _places(parameters: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return host and port of each server in a DSN, as libpq finds them. Empty if the DSN is libpq's own business."""
    if _setting(parameters, "service") or _setting(parameters, "hostaddr"):
        return []
    hosts, ports = (_setting(parameters, name).split(",") for name in ("host", "port"))
    if len(ports) not in (1, len(hosts)):
        return []  # libpq refuses that
    if len(hosts) == 1 and not _is_name(hosts[0]):
        return []
    return list(zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True))


def _setting(parameters: Mapping[str, object], name: str) -> str:
    """Return a parameter of a DSN, or of the environment variable that libpq reads instead."""
    return str(parameters.get(name) or os.environ.get(f"PG{name.upper().replace('_', '')}", ""))


def _is_name(host: str) -> bool:
    """Whether a host is neither a socket nor an address. An empty host is the default socket."""
    return bool(host) and not host.startswith(("/", "@")) and parse_ip(host) is None
