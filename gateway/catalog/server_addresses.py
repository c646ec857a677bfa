"""The addresses of the hosts in ``postgres.dsn``, looked up off the event loop, which libpq would block meanwhile."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from gateway.concurrency.shared_timeout import loop_timeout

# Returns the addresses of a host name; raises ``OSError`` if it has none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]

_FRESH_FOR: Final = 5.0  # seconds; managed databases that change their address have names that live as long


async def system_addresses(host: str) -> Sequence[str]:
    """Return the addresses of a host by the system's resolver, in its order, as libpq would try them."""
    found = await asyncio.get_running_loop().getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class AddressesNeeded(psycopg2.OperationalError):
    """A connection was to be opened before the hosts were looked up: look them up, and try again."""

    def __init__(self, addresses: "ServerAddresses") -> None:
        super().__init__("the hosts of postgres.dsn have not been looked up lately")
        self.addresses = addresses


class ServerAddresses:
    """Adds ``hostaddr`` to a DSN, so that libpq looks up no name itself (its documentation, ``PQconnectStart``).

    The names stay in ``host``, because certificates are verified by name. A name with several addresses is repeated for
    each address, and so is its port. Sockets and addresses are not changed. A DSN with ``hostaddr`` is not changed
    either, nor a DSN with a ``service``, whose file only libpq reads.

    All callers share a look-up, even when they give up waiting: a resolver that hangs occupies a single thread.
    """

    def __init__(self, dsn: str, timeout: float, resolve: Resolve = system_addresses) -> None:
        parameters = parse_dsn(dsn)
        self._timeout = timeout
        self._resolve = resolve
        self._hosts = _hosts_to_look_up(parameters, os.environ)
        self._ports = str(parameters.get("port") or os.environ.get("PGPORT", "")).split(",")
        self._found: Mapping[str, str] = {}
        self._fresh_until = float("-inf")
        self._look_up_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._look_up_task is not None:
            self._look_up_task.cancel()
            await asyncio.gather(self._look_up_task, return_exceptions=True)

    async def look_up(self) -> None:
        """Look the hosts up, unless that was done lately.

        Raises ``OSError`` if no host has an address, and ``TimeoutError`` if the look-up takes too long.
        """
        if not self._hosts or time.monotonic() < self._fresh_until - _FRESH_FOR / 2:  # `connect` follows at once
            return
        task = self._look_up_task
        if task is None or task.done():
            task = self._look_up_task = asyncio.create_task(self._look_up(self._hosts), name="postgres-addresses")
            task.add_done_callback(_retrieve)
        try:
            async with loop_timeout(self._timeout):
                await asyncio.shield(task)
        except TimeoutError:
            raise TimeoutError(f"the hosts of postgres.dsn were not looked up within {self._timeout:g} s") from None

    def connect(self, dsn: str, async_: int = 0) -> "psycopg2.extensions.connection":
        """Open a connection, as psycopg2's ``connection_factory``. Raises ``AddressesNeeded`` before ``look_up``."""
        if not self._hosts:
            return _open(dsn, async_)
        if time.monotonic() >= self._fresh_until:
            raise AddressesNeeded(self)
        return _open(make_dsn(dsn, **self._found), async_)

    async def _look_up(self, hosts: Sequence[str]) -> None:
        answers = await asyncio.gather(*map(self._addresses_of, hosts))
        ports = self._ports if len(self._ports) > 1 else self._ports * len(hosts)
        servers: list[tuple[str, str, str]] = []
        errors: list[OSError] = []
        for host, port, answer in zip(hosts, ports, answers, strict=True):
            if isinstance(answer, OSError):
                errors.append(answer)  # libpq, too, goes on with the next host
            else:
                servers += ((host, address, port) for address in answer)
        if not servers:
            raise errors[0]
        names = "host", "hostaddr", "port"
        found = {name: ",".join(parts) for name, parts in zip(names, zip(*servers, strict=True), strict=True)}
        if len(self._ports) == 1:
            del found["port"]  # one for all
        self._found = found
        self._fresh_until = time.monotonic() + _FRESH_FOR

    async def _addresses_of(self, host: str) -> Sequence[str] | OSError:
        """Return the addresses of a host, "" for a socket, or the error of the look-up."""
        if not _is_name(host):
            return [host if _is_address(host) else ""]
        try:
            return await self._resolve(host)
        except OSError as error:
            return OSError(f'could not translate host name "{host}" to address: {error.strerror or error}')


def _hosts_to_look_up(parameters: Mapping[str, object], environment: Mapping[str, str]) -> list[str]:
    """Return all hosts of a DSN, as libpq finds them, if any host is a name, else an empty list."""
    named = [parameters.get(name) or environment.get(f"PG{name.upper()}") for name in ("service", "hostaddr")]
    if any(named):
        return []
    hosts = str(parameters.get("host") or environment.get("PGHOST", "")).split(",")
    ports = str(parameters.get("port") or environment.get("PGPORT", "")).split(",")
    if len(ports) not in (1, len(hosts)):
        return []  # libpq refuses that
    return hosts if any(map(_is_name, hosts)) else []


def _open(dsn: str, async_: int) -> "psycopg2.extensions.connection":
    connect: Any = psycopg2.extensions.connection  # typeshed does not know its second argument
    opened: psycopg2.extensions.connection = connect(dsn, async_)
    return opened


def _is_name(host: str) -> bool:
    """Whether a host is neither a socket nor an address. An empty host is the default socket."""
    return bool(host) and not host.startswith(("/", "@")) and not _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _retrieve(task: "asyncio.Task[None]") -> None:
    """Retrieve the error, so that asyncio does not warn if every caller has given up."""
    if not task.cancelled():
        task.exception()
