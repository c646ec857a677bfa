"""Notifications to systemd on a real datagram socket, and sockets that a process inherits as systemd hands them over.

tests/server/test_handover.py serves on such sockets.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.concurrency.background import background
from gateway.process.systemd import ServiceManager, UnusableSocket, inherited_listeners
from tests.limits import LIMIT
from tests.processes import AS_SYSTEMD, gateway_process, run_program
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("forked_commands")


class Receiver:
    """A bound datagram socket and the states that it received, with the time of each."""

    def __init__(self, address: str) -> None:
        self.states: list[tuple[str, float]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(address)

    def received(self) -> list[str]:
        """Return every state so far, in order."""
        while True:
            try:
                self.states.append((self.socket.recv(4096).decode(), time.monotonic()))
            except BlockingIOError:
                return [state for state, _ in self.states]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """The manager's end of the socket; its address is ``socket.getsockname()``."""
    receiver = Receiver(str(tmp_path / "notify"))
    yield receiver
    receiver.socket.close()


async def test_serve_says_ready_shows_life_says_when_it_reloads_and_stopping_before_it_ends(
    raw_settings: dict[str, dict[str, Any]], tmp_path: Path, receiver: Receiver
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    environment = {"NOTIFY_SOCKET": receiver.socket.getsockname(), "WATCHDOG_USEC": "200000"}
    async with gateway_process("serve", "--config", str(config), environment=environment) as running:
        await until(lambda: "READY=1" in receiver.received(), what="READY=1")
        signs = receiver.received().count("WATCHDOG=1")
        await until(lambda: receiver.received().count("WATCHDOG=1") >= signs + 3, what="signs of life")
        for number in (2, 3):
            running.process.send_signal(signal.SIGHUP)
            await until(lambda count=number: receiver.received().count("READY=1") == count)  # type: ignore[misc]
            config.write_text("server: {port: none}")  # which is refused
        assert "STOPPING=1" not in receiver.received()
        running.terminate()
        assert await running.exit_code() == 0
    states = [state for state in receiver.received() if state != "WATCHDOG=1"]
    assert [state.partition("\n")[0] for state in states] == ["READY=1", *["RELOADING=1", "READY=1"] * 2, "STOPPING=1"]
    first, second = (int(states[number].partition("MONOTONIC_USEC=")[2]) for number in (1, 3))
    assert 0 < first < second


async def test_signs_of_life_come_twice_in_the_time_of_the_watchdog(receiver: Receiver) -> None:
    variables = {"WATCHDOG_USEC": "400000", "WATCHDOG_PID": str(os.getpid())}
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": receiver.socket.getsockname(), **variables})
    async with background("watchdog", manager.show_life()):
        await until(lambda: len(receiver.received()) == 5)
    times = [at for _, at in receiver.states]
    assert {state for state, _ in receiver.states} == {"WATCHDOG=1"}
    assert times[-1] - times[0] > 0.5
    assert min(later - earlier for earlier, later in pairwise(times)) < 0.4, "the machine may delay some, not each"


def test_an_abstract_address_is_understood() -> None:
    name = secrets.token_hex(8)
    receiver = Receiver("\0" + name)
    ServiceManager("@" + name).ready()
    assert receiver.received() == ["READY=1"]
    receiver.socket.close()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "9" * 5000},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
    ids=["absent", "zero", "no-number", "no-time", "of-another-process"],
)
async def test_without_a_watchdog_of_this_process_no_sign_of_life_is_sent(
    receiver: Receiver, variables: dict[str, str]
) -> None:
    manager = ServiceManager.from_environment({"NOTIFY_SOCKET": receiver.socket.getsockname(), **variables})
    async with asyncio.timeout(LIMIT):
        await manager.show_life()
    assert receiver.received() == []


async def test_without_a_socket_nothing_is_sent_and_nothing_logged(caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager.from_environment({"WATCHDOG_USEC": "100000"})
    manager.ready()
    manager.stopping()
    async with asyncio.timeout(LIMIT):
        await manager.show_life()
    assert caplog.records == []


def test_a_socket_that_is_gone_is_logged_once_until_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = tmp_path / "notify"
    manager = ServiceManager(str(address))
    with caplog.at_level(logging.WARNING):
        manager.ready()
        manager.ready()
        assert len(caplog.records) == 1
        receiver = Receiver(str(address))
        manager.ready()
        receiver.socket.close()
        manager.stopping()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert receiver.states == []


PRINT = """
from gateway.process.systemd import UnusableSocket, inherited_listeners
try:
    found = inherited_listeners()
    print([(given.getsockname()[0], given.getblocking(), given.get_inheritable()) for given in found])
except UnusableSocket as error:
    print(error)
"""


async def inherited(descriptor: int) -> str:
    """Return the output of a process about its inherited sockets."""
    return await run_program(
        sys.executable, "-c", AS_SYSTEMD, str(descriptor), sys.executable, "-c", PRINT, keep=descriptor
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_listener_is_not_blocking_and_not_inherited_further(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        assert await inherited(listener.fileno()) == f"[({host!r}, False, False)]"


async def test_what_is_not_a_listening_tcp_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket(socket.AF_UNIX) as local:
        datagrams.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "socket"))
        local.listen()
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname()) as connection,
        ):
            for other in (datagrams, local, connection):
                assert "descriptor 3 of LISTEN_FDS is not a listening TCP socket" in await inherited(other.fileno())
    with (tmp_path / "file").open("w") as file:
        assert "descriptor 3 of LISTEN_FDS: " in await inherited(file.fileno())


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="absent"),
        pytest.param({"LISTEN_FDS": "1"}, id="no-process"),
        pytest.param({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, id="another-process"),
        pytest.param({"LISTEN_FDS": "some", "LISTEN_PID": "1"}, id="nonsense-for-another-process"),
        pytest.param({"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}, id="none"),
    ],
)
def test_variables_that_are_not_for_this_process_are_ignored(variables: dict[str, str]) -> None:
    assert inherited_listeners(variables) == []


@pytest.mark.parametrize("count", ["65", "some", "-1", "1.0", " 1", "\u0663", "9" * 5000])
def test_an_absurd_number_of_sockets_is_refused_in_one_line(count: str) -> None:
    with pytest.raises(UnusableSocket) as refused:
        inherited_listeners({"LISTEN_FDS": count, "LISTEN_PID": str(os.getpid())})
    assert str(refused.value) == "LISTEN_FDS is not a number of sockets, 0 to 64"
