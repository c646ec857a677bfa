"""nginx to COS over TLS: the host of the URL is the name in the handshake (SNI), and the certificate must match it."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway_dev.processes import free_port
from tests.certificates import write_certificate
from tests.nginx.conftest import CONFIG, StartNginx
from tests.serving import serving

HOST = "photos-1250000000.cos.example"


@pytest.fixture
async def gateway_address() -> AsyncIterator[str]:
    """Host and port of a server that answers like a gateway with real COS: X-Accel-Redirect, or 502 after a failure."""

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("X-Accel-Failed"):
            return web.Response(status=502)
        headers = {"X-Accel-Redirect": "/_cos/version", "X-Origin-URL": f"https://{HOST}/a%2Fb.png?q-sign=1%3B2"}
        return web.Response(headers=headers)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    async with serving(app) as address:
        yield address.removeprefix("http://")


@pytest.mark.parametrize(("certified", "status"), [(HOST, 200), ("another.example", 502)])
async def test_the_certificate_of_cos_must_have_the_name_of_the_host(
    start_nginx: StartNginx, gateway_address: str, tmp_path: Path, certified: str, status: int
) -> None:
    write_certificate(tmp_path, certified)
    port = free_port()
    nginx = await start_nginx(
        f"""
        upstream image_gateway {{ server {gateway_address}; }}
        upstream cos {{ server 127.0.0.1:{port}; keepalive 8; }}
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {tmp_path}/cert.pem;
        ssl_certificate {tmp_path}/cert.pem;
        ssl_certificate_key {tmp_path}/key.pem;
        server {{ listen 127.0.0.1:{port} ssl default_server; ssl_reject_handshake on; }}
        server {{ listen 127.0.0.1:{port} ssl; server_name {HOST}; return 200 "$ssl_server_name$request_uri"; }}
        """
        + (CONFIG / "accel.conf").read_text()
    )
    async with aiohttp.ClientSession() as session, session.get(nginx.url + "/i/a") as answer:
        assert answer.status == status
        if status == 200:
            assert await answer.text() == f"{HOST}/a%2Fb.png?q-sign=1%3B2"
