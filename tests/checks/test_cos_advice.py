"""Advice on COS's answers and on connections that fail, by their cause."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from gateway.findings.catalogue import known_remedy
from gateway.origin.cos_errors import CosError
from gateway_dev.processes import free_port
from tests.certificates import server_context, write_certificate
from tests.here import Here


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("GET 206, but HEAD 403 at", "HeadObject"),
        ("GET 206, but HEAD 503 at", "fewer requests"),
        ("GET 206, but HEAD 402 at", "arrears"),
        (CosError(503, "SlowDown"), "fewer requests"),
        (CosError(429, "TooManyRequests"), "fewer requests"),
        (CosError(400, "InvalidImageFormat"), "only pictures"),
        (CosError(400, "SomethingNew"), "document 7730"),
        (CosError(520, "SomethingNew"), "COS fails"),
    ],
)
def test_the_code_or_else_the_status_decides_and_only_a_403_to_head_is_a_missing_right(
    seen: str | CosError, words: str
) -> None:
    assert words in known_remedy("cos some-bucket", str(seen))


@pytest.mark.parametrize(
    ("name", "life", "is_trusted", "words"),
    [
        ("cos.test", timedelta(hours=-1), True, "has expired"),
        ("other.test", timedelta(hours=1), True, "of another host"),
        ("cos.test", timedelta(hours=1), False, "not trusted here"),
    ],
    ids=["expired", "other host", "not trusted"],
)
async def test_a_certificate_that_is_refused_is_no_wrong_region(
    tmp_path: Path, name: str, life: timedelta, words: str, *, is_trusted: bool
) -> None:
    certificate, key = write_certificate(tmp_path, name, life=life)
    trust = ssl.create_default_context(cafile=str(certificate) if is_trusted else None)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=server_context(certificate, key)) as server:
        port = server.sockets[0].getsockname()[1]
        assert words in await advice_on(f"https://cos.test:{port}/", trust)


async def test_a_port_where_nobody_listens_is_a_matter_of_configuration_or_network() -> None:
    assert "cos.region" in await advice_on(f"http://cos.test:{free_port()}/", ssl.create_default_context())


async def advice_on(url: str, trust: ssl.SSLContext) -> str:
    """Return the advice on the error of a request, as the client of COS passes it on."""
    connector = aiohttp.TCPConnector(ssl=trust, resolver=Here())
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError) as raised:
            await session.get(url)
    return known_remedy("cos", str(raised.value), "dependency_down")
