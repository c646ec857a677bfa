"""Two development servers that start at the same time choose different ports."""

import socket
from contextlib import ExitStack

import pytest

from gateway_dev.processes import claim_port


def test_a_claimed_port_is_not_given_again_until_its_claim_ends() -> None:
    with ExitStack() as first:
        port = claim_port(0, first)
        with ExitStack() as second:
            assert claim_port(port, second) != port
    with ExitStack() as third:
        assert claim_port(port, third) == port


def test_a_server_can_listen_on_a_claimed_port() -> None:
    with ExitStack() as claims, socket.create_server(("127.0.0.1", claim_port(0, claims))) as server:
        assert claim_port(server.getsockname()[1], claims) != server.getsockname()[1]


def test_a_claimed_port_stays_taken_while_its_server_restarts() -> None:
    with ExitStack() as claims:
        port = claim_port(0, claims)
        for _ in range(2):
            socket.create_server(("127.0.0.1", port)).close()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
