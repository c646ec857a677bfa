"""Errors are not kept, and neither a restart of a gateway nor an idle connection is an error."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from gateway_dev.cos_emulator.faults import Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.fronts.conftest import Front, running_front
from tests.ports import reserved_port
from tests.waiting import until

BODY = b"bytes of an image" * 1000


async def test_no_error_is_kept_while_cos_is_away(front: Front, images: Images, cos: CosEmulator) -> None:
    await images.add("a", BODY)
    cos.faults.add(Fault(action=Refuse(status=500, code="InternalError"), times=None))
    for _ in range(2):
        answer = await front.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (502, "origin_unavailable")
        assert answer.headers["Cache-Control"] == "no-store"
    missing = await front.get("/i/not-there-yet")
    assert (missing.status, missing.json()["code"]) == (404, "image_not_found")
    cos.faults.clear()
    await images.add("not-there-yet", BODY)

    async def are_there() -> bool:
        return all([(await front.get(path)).body == BODY for path in ("/i/a", "/i/not-there-yet")])

    await until(are_there, what="both images")


async def test_a_gateway_that_restarts_is_used_again(
    front_name: str, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("a", BODY)
    with reserved_port() as port:
        gateway = await start_gateway(server={"port": port})
        async with running_front(front_name, gateway) as front:
            assert (await front.get("/api/v1/images/a/url")).status == 200
            await gateway.close()
            assert (await front.get("/api/v1/images/a/url")).status >= 500
            await start_gateway(server={"port": port})

            async def is_back() -> bool:
                return (await front.get("/api/v1/images/a/url")).status == 200

            await until(is_back, what="the gateway")


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
    host, _, port = gateway.ports.public.removeprefix("http://").partition(":")

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
