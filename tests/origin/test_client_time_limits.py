"""A COS that is slow or does not answer: each phase, each request, all attempts and what waits have a limit."""

import asyncio
import socket
import time
from contextlib import closing, suppress

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.errors import GatewayError, OriginPaused, OriginTimeout, OriginUnavailable
from gateway.origin.client import ObservedAnswers, OriginClient, open_origin
from gateway.origin.origin_response import CosConnections
from gateway.origin.retry import Retries, backoff
from gateway.service.metrics import Metrics
from gateway.settings import ImageProxySettings, Live
from gateway_dev.cos_emulator.faults import Fault, Hang, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET
from tests.limits import LIMIT
from tests.origin.conftest import OpenOrigin, Presign
from tests.origin.test_client import cat, counted, fetch
from tests.waiting import until

__all__ = ["cat"]


async def test_a_cos_that_does_not_answer_is_given_up_in_time(
    open_one: OpenOrigin, presign: Presign, cos: CosEmulator, metrics: Metrics
) -> None:
    origin = await open_one(timeout=0.2)
    cos.faults.add(Fault(action=Hang()))
    began = time.monotonic()
    with pytest.raises(OriginTimeout):
        await fetch(origin, presign())
    assert 0.15 < time.monotonic() - began < 20
    assert counted(metrics, "origin_requests_total", status="timeout") == 1


class SilentNameServer(AbstractResolver):
    """Never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Wait until cancelled."""
        del host, port, family
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """There is nothing to close."""


async def test_a_name_that_is_not_resolved_fails_within_the_time_out(metrics: Metrics) -> None:
    settings = ImageProxySettings(timeout=0.2)
    async with (
        open_origin(Live(settings), max_connections=1, metrics=metrics.origin, resolver=SilentNameServer()) as origin,
        asyncio.timeout(LIMIT),
    ):
        with pytest.raises(OriginTimeout):
            await fetch(origin, "http://photos.example/cat.png")
    assert counted(metrics, "origin_requests_total", status="timeout") == 1


async def test_all_attempts_together_have_one_limit(presign: Presign, cos: CosEmulator, metrics: Metrics) -> None:
    cos.faults.add(Fault(action=Refuse(), times=None))
    async with aiohttp.TCPConnector() as connector:
        session = CosConnections(connector, timeout=4)
        retries = Retries(Live(10), backoff=lambda attempt: backoff(attempt, lambda: 1.0))
        origin = OriginClient(session, timeout=4, retries=retries, observed=ObservedAnswers(metrics.origin))
        began = time.monotonic()
        with pytest.raises(GatewayError):
            await fetch(origin, presign())
    assert time.monotonic() - began < 20, "ten retries would take 51 seconds"
    assert 2 <= len(cos.request_log.requests) <= 8, "50 ms apart, and each time twice as long"


async def test_a_diagnosis_has_a_limit(open_one: OpenOrigin, presign: Presign, cos: CosEmulator) -> None:
    origin = await open_one(timeout=0.2)
    cos.faults.add(Fault(action=Hang()))
    with pytest.raises(OriginUnavailable):
        await origin.diagnose(presign())


async def test_the_first_byte_comes_in_time_retries_included(open_one: OpenOrigin) -> None:
    origin = await open_one(timeout=6)
    connections = 0

    async def late_and_lost(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        if connections == 1:
            with suppress(TimeoutError):  # the origin fails after three seconds, in which the client waits
                async with asyncio.timeout(3):
                    await reader.read()
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(late_and_lost, "127.0.0.1", 0) as server:
        began = time.monotonic()
        with pytest.raises(OriginTimeout):
            await fetch(origin, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cat.png")
        assert 6 <= time.monotonic() - began < 3 + 6, "the retry has what is left of the time"
    assert connections == 2


async def test_of_several_buckets_a_hanging_one_keeps_half_of_the_places(presign: Presign, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "cat.png", b"data")
    cos.store.put(BUCKET, "dog.png", b"data")
    cos.faults.add(Fault(action=Hang(), key="dog.png", times=None))
    settings = ImageProxySettings(timeout=6, retry_count=0)
    opening = open_origin(
        Live(settings), max_connections=8, metrics=Metrics().origin, buckets=[BUCKET, "other-1250000000"]
    )
    async with opening as origin:
        fetches = [origin.fetch(presign("dog.png"), "other-1250000000") for _ in range(4)]
        waiting = asyncio.gather(*fetches, return_exceptions=True)
        await until(lambda: len(cos.request_log.of("dog.png")) == 4)
        with pytest.raises(OriginPaused):
            await origin.fetch(presign("dog.png"), "other-1250000000")
        with closing(await origin.fetch(presign(), bucket=BUCKET)) as response:
            assert await response.read() == b"data"
        assert [type(outcome) for outcome in await waiting] == [OriginTimeout] * 4
        cos.faults.clear()
        with closing(await origin.fetch(presign("dog.png"), "other-1250000000")) as response:
            assert await response.read() == b"data"
    assert not origin._waiting


async def test_one_bucket_has_every_place(presign: Presign, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "dog.png", b"data")
    cos.faults.add(Fault(action=Hang(), key="dog.png", times=None))
    settings = ImageProxySettings(timeout=0.5, retry_count=0)
    async with open_origin(Live(settings), max_connections=8, metrics=Metrics().origin, buckets=[BUCKET]) as origin:
        fetches = [origin.fetch(presign("dog.png"), BUCKET) for _ in range(8)]
        outcomes = await asyncio.gather(*fetches, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OriginTimeout] * 8
