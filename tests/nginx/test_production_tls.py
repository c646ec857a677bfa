"""The commands of docs/production.md that turn TLS on: https serves, and port 80 redirects."""

import re
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway_dev.processes import free_port
from tests.certificates import write_certificate
from tests.conftest import Images, StartGateway
from tests.nginx.conftest import CONFIG, StartNginx

DOCS = CONFIG.parents[1] / "docs"


def run(command: str) -> None:
    """Run a command of the document."""
    subprocess.run(["sh", "-c", command], check=True)


@pytest.mark.parametrize("page", ["production.md", "production.zh-CN.md"])
async def test_the_documented_commands_turn_tls_on_and_redirect_port_80(
    page: str, start_nginx: StartNginx, start_gateway: StartGateway, images: Images, tmp_path: Path
) -> None:
    await images.add("a", b"an image")
    gateway = await start_gateway()
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "gateway.conf").write_text((CONFIG / "gateway.conf").read_text())
    text = (DOCS / page).read_text(encoding="utf-8")
    commands = re.findall(r"^(?:sed -i .*\$site|printf 'server .*redirect\.conf)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        run("site=gateway.conf\n" + command.replace("/etc/nginx/conf.d", str(folder)))
    certificate, key = write_certificate(tmp_path, "127.0.0.1")
    port = free_port()
    conf = (folder / "gateway.conf").read_text()
    for before, after in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/tls/fullchain.pem", str(certificate)),
        ("/etc/nginx/tls/privkey.pem", str(key)),
    ):
        assert before in conf
        conf = conf.replace(before, after)
    upstream = f"upstream image_gateway {{ server {gateway.ports.public.removeprefix('http://')}; }}\n"
    nginx = await start_nginx(upstream + conf + (folder / "redirect.conf").read_text())
    redirect = await nginx.get("/i/a?x=1", Host="img.example.com")
    assert (redirect.status, redirect.headers["Location"]) == (301, "https://img.example.com/i/a?x=1")
    trusted = ssl.create_default_context(cafile=certificate)
    async with nginx.session.get(f"https://127.0.0.1:{port}/i/a", ssl=trusted) as answer:
        assert (answer.status, await answer.read()) == (200, b"an image")
