"""Two development servers that start at the same time do not choose the same ports."""

import socket
from contextlib import ExitStack

from gateway.dev.ports import claim_port


def test_a_port_that_is_claimed_is_taken_before_anybody_listens_on_it_and_free_afterwards() -> None:
    with ExitStack() as one:
        port = claim_port(0, one)
        with ExitStack() as other:
            assert claim_port(port, other) != port
    with ExitStack() as later:
        assert claim_port(port, later) == port


def test_a_port_that_is_claimed_can_be_listened_on() -> None:
    with ExitStack() as claims, socket.create_server(("127.0.0.1", claim_port(0, claims))) as server:
        assert claim_port(server.getsockname()[1], claims) != server.getsockname()[1]
