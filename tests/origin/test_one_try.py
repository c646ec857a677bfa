"""The number of requests to COS is that of ``retry_count`` and the retry budget, with no additional one by aiohttp."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import aiohttp
import pytest

from gateway.errors import OriginUnavailable
from gateway.origin.client import ObservedAnswers, OriginClient
from gateway.origin.origin_response import CosConnections
from gateway.origin.retry import Retries
from gateway.service.metrics import Metrics
from gateway.settings import Live
from gateway_dev.cos_emulator.faults import Fault, Refuse, Reset
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET
from tests.limits import LIMIT
from tests.origin.conftest import OpenOrigin, Presign, read_all
from tests.origin.test_client import counted

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: image/png\r\n\r\nab"

STRAY = ANSWER.replace(b"ab", b"xy")


async def fetch(origin: OriginClient, url: str) -> bytes:
    """The body of an answer read to its end."""
    with closing(await origin.fetch(url)) as response:
        return await read_all(response)


@pytest.mark.parametrize("action", [Reset(), Refuse(status=500, code="InternalError")], ids=["reset", "500"])
@pytest.mark.parametrize("is_reused", [False, True], ids=["new-connection", "reused-connection"])
async def test_a_retry_count_of_0_is_one_request_at_cos(
    open_one: OpenOrigin, presign: Presign, cos: CosEmulator, metrics: Metrics, action: Reset | Refuse, is_reused: bool
) -> None:
    cos.store.put(BUCKET, "cat.png", b"bytes")
    origin = await open_one(retry_count=0)
    if is_reused:
        assert await fetch(origin, presign()) == b"bytes"
        cos.request_log.clear()
    cos.faults.add(Fault(action=action, times=None))
    with pytest.raises(OriginUnavailable):
        await fetch(origin, presign())
    assert len(cos.request_log.requests) == 1
    assert counted(metrics, "origin_retries_total") == 0


async def test_every_retry_is_counted_and_taken_from_the_budget(
    presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    cos.store.put(BUCKET, "cat.png", b"bytes")
    cos.faults.add(Fault(action=Reset(), times=None))
    async with aiohttp.TCPConnector() as connector:
        session = CosConnections(connector, timeout=LIMIT)
        retries = Retries(Live(2), ratio=0, reserve=5)
        origin = OriginClient(session, timeout=LIMIT, retries=retries, observed=ObservedAnswers(metrics.origin))
        for _ in range(4):
            with pytest.raises(OriginUnavailable):
                await fetch(origin, presign())
    assert counted(metrics, "origin_retries_total") == 5
    assert len(cos.request_log.requests) == counted(metrics, "origin_requests_total", status="error") == 4 + 5


@contextmanager
def closing_while_idle(
    idle: int = 1, act: Callable[[socket.socket], None] = socket.socket.close
) -> Iterator[tuple[int, threading.Event, threading.Event, list[bytes]]]:
    """An origin in a thread: its port, an event to close idle connections, one set afterwards; the heads.

    It answers one request on each connection. Only a thread closes while the loop is busy, as another machine would.
    act: what it does with an idle connection instead.
    """
    shall_close, is_closed, heads = threading.Event(), threading.Event(), list[bytes]()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_one() -> socket.socket:
            connection, _ = listener.accept()
            heads.append(connection.recv(65_536))
            connection.sendall(ANSWER)
            return connection

        def serve() -> None:
            kept = [answer_one() for _ in range(idle)]
            shall_close.wait(10)
            for connection in kept:
                act(connection)
            is_closed.set()
            answer_one().close()
            for connection in kept:
                connection.close()

        thread = threading.Thread(target=serve, name="closing-while-idle")
        thread.start()
        try:
            yield listener.getsockname()[1], shall_close, is_closed, heads
        finally:
            shall_close.set()
            # The thread may still wait for a second connection.
            while thread.is_alive():
                with socket.create_connection(listener.getsockname()) as last:
                    last.sendall(b"GET / HTTP/1.1\r\n\r\n")
                thread.join(0.2)


async def test_a_request_is_not_sent_into_a_connection_that_cos_has_closed(
    open_one: OpenOrigin, metrics: Metrics
) -> None:
    """The one more try costs COS no request, so it is made with a ``retry_count`` of 0, too."""
    origin = await open_one(retry_count=0)
    with closing_while_idle() as (port, shall_close, is_closed, heads):
        url = f"http://127.0.0.1:{port}/cat.png"
        assert await fetch(origin, url) == b"ab"
        shall_close.set()
        assert is_closed.wait(5), "without giving the loop a chance to see the end"
        assert await fetch(origin, url) == b"ab"
        assert len(heads) == 2
    assert counted(metrics, "origin_requests_total", status="200") == 2
    assert counted(metrics, "origin_requests_total", status="error") == 0
    assert counted(metrics, "origin_retries_total") == 1


@pytest.mark.parametrize(
    ("stray", "sees_the_bytes"),
    [(STRAY, False), (STRAY, True), (STRAY[:30], False), (b"\0", True)],
)
async def test_a_connection_with_bytes_that_nobody_asked_for_is_not_used_again(
    open_one: OpenOrigin, metrics: Metrics, stray: bytes, sees_the_bytes: bool
) -> None:
    """Else each later answer on the connection would be that of the request before it."""
    origin = await open_one(retry_count=0)
    with closing_while_idle(act=lambda idle: idle.sendall(stray)) as (port, shall_send, is_sent, heads):
        url = f"http://127.0.0.1:{port}/cat.png"
        assert await fetch(origin, url) == b"ab"
        shall_send.set()
        assert is_sent.wait(5), "without giving the loop a chance to see the bytes"
        if sees_the_bytes:
            for _ in range(5):
                await asyncio.sleep(0)
        assert await fetch(origin, url) == b"ab"
        assert len(heads) == 2
    assert counted(metrics, "origin_requests_total", status="error") == 0


async def test_several_idle_connections_closed_at_once_cost_no_answer(open_one: OpenOrigin, metrics: Metrics) -> None:
    origin = await open_one(retry_count=2)
    with closing_while_idle(3) as (port, shall_close, is_closed, heads):
        url = f"http://127.0.0.1:{port}/cat.png"
        assert await asyncio.gather(*(fetch(origin, url) for _ in range(3))) == [b"ab"] * 3
        shall_close.set()
        assert is_closed.wait(5), "without giving the loop a chance to see the end"
        assert await fetch(origin, url) == b"ab"
        assert len(heads) == 4
    assert counted(metrics, "origin_requests_total", status="error") == 0


async def test_only_the_first_lost_connection_is_replaced_without_a_pause(
    presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    """COS may have closed it while it was idle; a second loss has another reason."""
    cos.store.put(BUCKET, "cat.png", b"bytes")
    pauses: list[float] = []

    def no_pause(_attempt: int) -> float:
        pauses.append(0.0)
        return 0.0

    async with aiohttp.TCPConnector() as connector:
        session = CosConnections(connector, timeout=LIMIT)
        retries = Retries(Live(3), backoff=no_pause)
        origin = OriginClient(session, timeout=LIMIT, retries=retries, observed=ObservedAnswers(metrics.origin))
        for losses in (1, 3):
            cos.faults.add(Fault(action=Reset(), times=losses))
            assert await fetch(origin, presign()) == b"bytes"
            assert len(pauses) == losses - 1
    assert counted(metrics, "origin_retries_total") == 4
