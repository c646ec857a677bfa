"""An idle connection is no error: each front closes it before the gateway does."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from tests.conftest import RunningGateway, StartGateway
from tests.fronts.conftest import running_front
from tests.fronts.front import Front
from tests.waiting import until

IDLE = 2  # seconds after which the front closes, in place of its default or the recipe's line
GATEWAY_IDLE = 4  # in place of 130
LATE = 0.4  # seconds that the end of a connection takes to the front
CHANGES = {
    "squid": {"server_idle_pconn_timeout 60 ": f"server_idle_pconn_timeout {IDLE} "},
    "haproxy": {"check inter": "pool-purge-delay 250ms check inter"},  # as 5 s to 130
    "apache": {"ttl=60": f"ttl={IDLE}"},
    "caddy": {"transport http {": f"transport http {{\n\t\t\tkeepalive {IDLE}s"},
    "traefik": {"forwardingTimeouts:": f"forwardingTimeouts:\n        idleConnTimeout: {IDLE}s"},
    "envoy": {"idle_timeout: 60s": f"idle_timeout: {IDLE}s"},
    "nginx": {"keepalive_timeout 60s": f"keepalive_timeout {IDLE}s"},
}


@asynccontextmanager
async def far_away(gateway: RunningGateway, closed: asyncio.Event | None = None) -> AsyncIterator[str]:
    """Yield the address of the gateway over a network on which the end of a connection takes ``LATE`` seconds.

    What the front sends meanwhile is lost, and the connection is reset. ``closed`` is set when the gateway ends one.
    """
    host, _, port = gateway.address.partition(":")

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_gateway, to_gateway = await asyncio.open_connection(host, int(port))
        has_ended = False

        async def requests() -> None:
            while piece := await reader.read(65_536):
                if has_ended:
                    writer.transport.abort()
                    return
                to_gateway.write(piece)
            to_gateway.close()

        async def answers() -> None:
            nonlocal has_ended
            while piece := await from_gateway.read(65_536):
                writer.write(piece)
            has_ended = True
            if closed is not None:
                closed.set()
            await asyncio.sleep(LATE)
            writer.close()

        relays.add(asyncio.current_task())
        await asyncio.gather(requests(), answers(), return_exceptions=True)
        for each in (writer, to_gateway):
            each.close()

    relays: set[asyncio.Task[None] | None] = set()
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.gather(*filter(None, relays))


async def test_no_request_fails_after_a_pause(front_name: str, start_gateway: StartGateway) -> None:
    """Each front's own time is shorter than the gateway's. Varnish's is not here: it repeats what was lost."""
    statuses = await statuses_after_pauses(start_gateway, front_name, CHANGES.get(front_name))
    assert set(statuses) <= {400, 415}, statuses


async def statuses_after_pauses(
    start_gateway: StartGateway, front_name: str, changes: Mapping[str, str] | None
) -> list[int]:
    """Return the statuses after pauses around the time after which the gateway closes an idle connection."""
    gateway = await start_gateway(server={"keepalive_timeout": GATEWAY_IDLE})
    statuses: list[int] = []

    async def with_pause(front: Front, seconds: float) -> None:
        for pause in (seconds, 0):
            # No proxy repeats a POST as it repeats a GET.
            statuses.append((await front.request("POST", "/api/v1/monitoring/beacons")).status)
            end = time.monotonic() + pause
            await until(partial(_is_over, end), what="the end of the pause")

    async with (
        far_away(gateway) as address,
        running_front(front_name, gateway, changes, address=address) as front,
    ):
        await asyncio.gather(*(with_pause(front, GATEWAY_IDLE + step * 0.02) for step in range(-5, 25)))
    return statuses


def _is_over(end: float) -> bool:
    return time.monotonic() >= end
