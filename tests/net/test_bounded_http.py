"""Requests to small services: bounded in time and in bytes, never redirected, through no proxy."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from tests.answering import Service
from tests.certificates import server_context, write_certificate


async def test_the_body_of_a_200_is_returned(service: Service) -> None:
    service.body = b"x" * 64 * 1024
    async with BoundedHttp() as http:
        assert await http.get(f"{service.url}/a%2Fb?c") == service.body
        assert (await http.post(service.url, {"X-A": "b"}, b"sent"))[0] == service.body
    assert [(request.method, request.raw_path, body) for request, body in service.seen] == [
        ("GET", "/a%2Fb?c", b""),
        ("POST", "/", b"sent"),
    ]
    assert service.seen[1][0].headers["X-A"] == "b"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ({"status": 500}, "status 500"),
        ({"status": 404}, "status 404"),
        *(({"status": status}, f"status {status}") for status in (201, 203, 206, 300)),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:1/"}}, "status 302"),
        ({"body": b"x" * (64 * 1024 + 1)}, "more than 65536 bytes"),
        ({"hangs": True}, "no answer within 0.1 s"),
    ],
)
async def test_anything_else_is_a_failure(service: Service, failure: dict[str, Any], reason: str) -> None:
    for name, value in failure.items():
        setattr(service, name, value)
    began = time.monotonic()
    async with BoundedHttp(0.1 if "hangs" in failure else 60) as http:
        with pytest.raises(ServiceUnavailable, match=f"^{reason}$"):
            await http.get(service.url)
    assert time.monotonic() - began < 30
    # On a busy machine the time may end before the request is sent.
    assert len(service.seen) == 1 or ("hangs" in failure and not service.seen)


async def test_a_connection_over_a_long_way_may_take_as_long_as_the_answer(tmp_path: Path) -> None:
    """The handshakes of TLS with a service on another continent take about a second."""
    context = server_context(*write_certificate(tmp_path, "127.0.0.1"))
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/"

    async def ask() -> None:
        async with BoundedHttp(20) as http:
            await http.get(url)

    asking = asyncio.create_task(ask())
    ended, _ = await asyncio.wait({asking}, timeout=1.5)
    assert not ended, "the client is connected, and waits for the handshake"
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), sock=listener, ssl=context):
        with pytest.raises(ServiceUnavailable, match=r"^ClientConnectorCertificateError$"):
            await asking


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no.such.host.invalid/", "http://[/"])
async def test_an_unreachable_service_is_a_failure(url: str) -> None:
    async with BoundedHttp() as http:
        with pytest.raises(ServiceUnavailable):
            await http.get(url)


async def test_no_proxy_of_the_environment_is_used(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with BoundedHttp() as http:
        assert await http.get(service.url) == b"{}"
