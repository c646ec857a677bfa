"""Gateways that follow each other on one port under load, without a proxy in front: no accepted request fails."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Images
from tests.direct_clients import direct_clients
from tests.processes import GatewayProcess, gateway_process
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("forked_commands")

RawSettings = dict[str, dict[str, Any]]
StartReplica = Callable[..., Awaitable[GatewayProcess]]


@pytest.fixture
async def start_replica(raw_settings: RawSettings, images: Images, tmp_path: Path) -> AsyncIterator[StartReplica]:
    """Function that starts a gateway with ``server`` settings or a listener; there is one image ``cat``."""
    await images.add("cat", bytes(1000))
    async with AsyncExitStack() as stack:

        async def start(*, listener: socket.socket | None = None, **server: Any) -> GatewayProcess:
            config = tmp_path / f"{len(list(tmp_path.iterdir()))}.yaml"
            config.write_text(yaml.safe_dump({**raw_settings, "server": {**raw_settings["server"], **server}}))
            return await stack.enter_async_context(gateway_process("serve", "--config", str(config), listener=listener))

        yield start


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket that no gateway owns, as that of a socket unit."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        yield listener


@asynccontextmanager
async def no_failures(port: int, *, reset_while_connecting: bool = False) -> AsyncIterator[Counter[str]]:
    """Run clients during the block; afterwards, all of their requests must have succeeded.

    reset_while_connecting: the kernel may reset the handshakes that were not complete when a listener was closed.
    """
    async with direct_clients("127.0.0.1", port, "/i/cat") as outcomes:
        yield outcomes
        await served_more(outcomes)
    failed = {outcome: count for outcome, count in outcomes.items() if outcome not in {"new: 200", "kept: 200"}}
    if reset_while_connecting:
        failed = {outcome: count for outcome, count in failed.items() if "ConnectionResetError" not in outcome}
    assert failed == {}


async def served_more(outcomes: Counter[str]) -> None:
    """Wait until the clients have got some more answers."""
    before = outcomes.total()
    await until(lambda: outcomes.total() > before + 100, what="answers")


async def stop(replica: GatewayProcess) -> None:
    """Send SIGTERM and wait for the end of the drain."""
    replica.terminate()
    assert await replica.exit_code() == 0


async def test_the_next_process_takes_a_reused_port_while_the_one_before_drains(start_replica: StartReplica) -> None:
    first = await start_replica(reuse_port=True)
    port = int(first.public.rpartition(":")[2])
    others = await asyncio.gather(*(start_replica(reuse_port=True, port=port) for _ in range(2)))
    async with no_failures(port, reset_while_connecting=True) as outcomes:
        for replica in (first, others[0]):
            await served_more(outcomes)
            await stop(replica)


async def test_connections_wait_in_the_socket_of_systemd_while_its_processes_stop_and_the_last_restarts(
    start_replica: StartReplica, listener: socket.socket
) -> None:
    replicas = await asyncio.gather(*(start_replica(listener=listener) for _ in range(3)))
    port = listener.getsockname()[1]
    assert {replica.public for replica in replicas} == {f"http://127.0.0.1:{port}"}
    async with no_failures(port) as outcomes:
        for replica in replicas:
            await served_more(outcomes)
            await stop(replica)
        await start_replica(listener=listener)
