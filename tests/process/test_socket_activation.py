"""Sockets that a process inherits as systemd hands them over; tests/server/test_handover.py serves on them."""

import os
import socket
import sys
from pathlib import Path

import pytest

from gateway.process.socket_activation import UnusableSocket, inherited_listeners
from tests.processes import AS_SYSTEMD, run_program

PRINT = """
from gateway.process.socket_activation import UnusableSocket, inherited_listeners
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
