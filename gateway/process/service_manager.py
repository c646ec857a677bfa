"""Notifies systemd that the gateway is ready, alive, reloading and stopping, by datagrams (sd_notify(3)).

``NOTIFY_SOCKET`` names the socket, and ``WATCHDOG_USEC`` the time within which systemd expects a sign of life. Both are
absent if nothing is to be notified, and every call then does nothing.
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
_VARIABLES: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
)


class ServiceManager:
    """Sends states to the service manager. A failure is logged once, until a state is sent again.

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
        """Send a sign of life regularly, until cancelled. Return at once if no sign of life is expected.

        No sign is sent while ``is_alive`` returns False. The event loop sends the signs, so none is sent while the loop
        hangs and the gateway cannot answer.
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
