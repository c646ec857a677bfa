"""Clients that are slow, silent, many, or never read: disconnected in time, without delay for others."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress

import psutil

from tests.conftest import Images, RunningGateway, StartGateway
from tests.hostile.conftest import IDLE
from tests.raw_client import connect, statuses
from tests.waiting import until, until_answered

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send ``data`` byte by byte, each within any timeout between bytes."""
    with suppress(ConnectionError):
        for number in range(len(data)):
            writer.write(data[number : number + 1])
            await writer.drain()
            await asyncio.sleep(IDLE / 10)


def connections_of(gateway: RunningGateway) -> int:
    """Return the number of open connections to the public port."""
    port = int(gateway.ports.public.rpartition(":")[2])
    return sum(
        connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
        for connection in psutil.Process().net_connections(kind="tcp")
        if connection.laddr
    )


async def test_a_silent_connection_and_one_that_sends_byte_by_byte_are_disconnected(impatient: RunningGateway) -> None:
    """The timeout is for a whole head or body, not per byte (slowloris), also after a first complete request."""
    slow_head = b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 1000
    head_of_a_body = b"POST /api/v1/images/urls HTTP/1.1\r\nHost: gateway\r\nContent-Length: 60000\r\n\r\n"
    for at_once, byte_by_byte, answers in (
        (b"", b"", []),
        (b"", slow_head, []),
        (REQUEST, slow_head, [200]),
        (head_of_a_body, b"[" * 1000, [408]),
    ):
        async with connect(impatient.ports.public) as connection:
            connection.writer.write(at_once)
            dripping = asyncio.create_task(trickle(connection.writer, byte_by_byte))
            started = time.monotonic()
            assert statuses(await connection.read_rest()) == answers
            assert time.monotonic() - started < 60 * IDLE, "a thousand bytes take a hundred times as long"
            await dripping


async def test_a_client_that_never_reads_small_responses_is_disconnected(
    impatient: RunningGateway, images: Images
) -> None:
    """Each response fits into a buffer, so no write blocks; only the kernel sees that the client reads nothing."""
    await images.add("small", b"x" * 60_000)
    async with connect(impatient.ports.public) as connection:
        connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(300):
            connection.writer.write(b"GET /i/small HTTP/1.1\r\nHost: gateway\r\n\r\n")
        await until(lambda: connections_of(impatient) == 1)
        await until(lambda: connections_of(impatient) == 0)
    await until_answered(impatient, "/i/small", 200)


async def test_a_thousand_silent_connections_delay_no_other_client(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(server={"keepalive_timeout": 120, "max_streams": 50})
    await images.add("a", b"body")
    async with AsyncExitStack() as stack:
        for number in range(1000):
            connection = await stack.enter_async_context(connect(gateway.ports.public))
            if number % 2:
                connection.writer.write(b"GET /i/a HTTP/1.1\r\nX-Slow: ")
        assert connections_of(gateway) == 1000
        started = time.monotonic()
        for _ in range(50):
            assert (await gateway.get("/i/a")).body == b"body"
        assert time.monotonic() - started < 60
