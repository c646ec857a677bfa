"""The session to COS: no answer of COS makes the gateway contact another server."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gateway.origin.client import OriginClient
from gateway_dev.cos_emulator.faults import Fault, Redirect
from gateway_dev.cos_emulator.server import CosEmulator
from tests.origin.conftest import Presign
from tests.serving import serving


class OtherServer:
    """A server on this machine that the gateway has no reason to contact; records the requests that it gets."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request with 200."""
        self.requests.append(f"{request.method} {request.path}")
        return web.Response(text="a secret of another service")


@pytest.fixture
async def other_server() -> AsyncIterator[OtherServer]:
    """Start the server."""
    server = OtherServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with serving(app) as address:
        server.url = f"{address}/secret"
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_lesson_3_a_diagnosis_does_not_follow_a_redirect(
    origin: OriginClient, presign: Presign, cos: CosEmulator, other_server: OtherServer, status: int
) -> None:
    redirect = Redirect.model_validate({"location": other_server.url, "status": status})
    cos.faults.add(Fault(action=redirect, times=None))
    assert (await origin.diagnose(presign())).status == status
    assert other_server.requests == []
    assert [seen.method for seen in cos.request_log.requests] == ["GET"]


async def test_requests_to_cos_use_no_proxy_of_the_environment(
    origin: OriginClient,
    presign: Presign,
    cos: CosEmulator,
    other_server: OtherServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", other_server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await origin.diagnose(presign())
    assert other_server.requests == []
    assert len(cos.request_log.requests) == 1
