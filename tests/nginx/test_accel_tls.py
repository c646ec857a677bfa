"""nginx to COS over TLS: the host of the URL is the name in the handshake (SNI), and the certificate must match it."""

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.dev.processes import free_port
from tests.nginx.conftest import CONFIG, StartNginx

HOST = "photos-1250000000.cos.example"


def certificate_for(name: str, folder: Path) -> None:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


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
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(("certified", "status"), [(HOST, 200), ("another.example", 502)])
async def test_the_certificate_of_cos_must_have_the_name_of_the_host(
    start_nginx: StartNginx, gateway_address: str, tmp_path: Path, certified: str, status: int
) -> None:
    certificate_for(certified, tmp_path)
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
