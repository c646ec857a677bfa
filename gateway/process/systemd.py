"""What systemd and the gateway say to each other: states (sd_notify(3)) and listening sockets (sd_listen_fds(3)).

Without the variables of systemd nothing is sent and nothing is inherited. A socket that outlives its process keeps its
unaccepted connections, and the next process accepts them.
"""

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Self

logger = logging.getLogger(__name__)

_SIGNS_PER_TIMEOUT: Final = 2  # sd_watchdog_enabled(3): a sign of life at half of the time
# Variables that systemd sets for one process; a child that inherits them would send states of its parent.
_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
_FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
_MOST_SOCKETS: Final = 64  # the port on IPv4, on IPv6, on some addresses


class ServiceManager:
    """Tells systemd the state of the process. A failure is logged once, until a state is sent again.

    address: the socket of the service manager. None: nothing is sent.
    watchdog: the receiver expects a sign of life within so many seconds.
    deliver: sends the states to another ``receiver`` instead. Raises ``OSError`` if it cannot. The receiver reacts to a
    missing state.
    """

    def __init__(
        self,
        address: str | None,
        watchdog: float | None = None,
        *,
        deliver: Callable[[bytes], object] | None = None,
        receiver: str = "systemd",
    ) -> None:
        self._deliver = partial(_send_datagram, address) if address else deliver
        self.watchdog = watchdog if self._deliver is not None else None
        self._receiver = receiver
        self._is_failing = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the manager of this process. A watchdog for another process (``WATCHDOG_PID``) is ignored."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        seconds = int(microseconds) / 1e6 if re.fullmatch("[0-9]{1,18}", microseconds) and is_ours else 0
        return cls(environment.get("NOTIFY_SOCKET") or None, seconds or None)

    def ready(self) -> None:
        """Notify that both ports listen, or that a reload has ended."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Notify that a reload begins. ``ready`` notifies its end (``Type=notify-reload``)."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Notify that the drain begins."""
        self._send("STOPPING=1")

    async def show_life(self, is_alive: Callable[[], bool] = lambda: True) -> None:
        """Send signs of life while ``is_alive``, until cancelled. Return at once if none is expected.

        The event loop sends them, so none is sent while the loop hangs and the gateway cannot answer.
        """
        while self.watchdog is not None:
            if is_alive():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog / _SIGNS_PER_TIMEOUT)

    def _send(self, state: str) -> None:
        if self._deliver is None:
            return
        try:
            self._deliver(state.encode())
        except OSError as error:
            if not self._is_failing:
                logger.warning("%s was not notified of %s: %s", self._receiver, state.partition("\n")[0], error)
            self._is_failing = True
        else:
            self._is_failing = False


def environment_of_children() -> dict[str, str]:
    """Return the environment without the variables that systemd set for this process only."""
    return {name: value for name, value in os.environ.items() if name not in _VARIABLES}


def _send_datagram(address: str, state: bytes) -> None:
    # A leading @ stands for the zero byte of an abstract address.
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)  # the loop does not wait for a manager whose queue is full
        sender.sendto(state, address)


class UnusableSocket(OSError):
    """A socket from systemd is not a listening TCP socket. The message names the change that the unit needs."""


def inherited_listeners(environment: Mapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the inherited sockets of the public port, empty if there are none. Raises ``UnusableSocket``."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count:
        return []
    if not re.fullmatch("[0-9]{1,4}", count) or int(count) > _MOST_SOCKETS:
        raise UnusableSocket(f"LISTEN_FDS is not a number of sockets, 0 to {_MOST_SOCKETS}")
    return [_listener(descriptor) for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))]


def _listener(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
        is_tcp = listener.type == socket.SOCK_STREAM and listener.family in (socket.AF_INET, socket.AF_INET6)
        is_listening = is_tcp and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError as error:
        raise UnusableSocket(f"descriptor {descriptor} of LISTEN_FDS: {error.strerror}") from error
    if not is_listening:
        listener.detach()  # the descriptor stays open
        raise UnusableSocket(
            f"descriptor {descriptor} of LISTEN_FDS is not a listening TCP socket: "
            "the socket unit needs ListenStream= with a port, and Accept=no"
        )
    os.set_inheritable(descriptor, False)
    listener.setblocking(False)
    return listener
