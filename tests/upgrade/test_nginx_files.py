"""nginx with the files of one version in front of a gateway of the other, as between the steps of an upgrade."""

import re
from pathlib import Path

import pytest
import yaml

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, token_for
from tests.nginx.conftest import CONFIG, starting_nginx
from tests.nginx.test_rolling_restart import RawSettings
from tests.processes import GATEWAY, gateway_process
from tests.upgrade.conftest import Release

pytestmark = pytest.mark.usefixtures("forked_commands")

# Method, path, headers -> what must come back: status and body.
REQUESTS: tuple[tuple[str, str, dict[str, str], int, bytes | None], ...] = (
    ("GET", "/i/public", {}, 200, b"0123456789"),
    ("GET", "/i/public", {"Range": "bytes=2-4"}, 206, b"234"),
    ("HEAD", "/i/public", {}, 200, b""),
    ("GET", "/i/public?redirect=true", {}, 302, None),
    ("GET", "/i/private", {}, 404, None),
    ("GET", "/i/private", {"Authorization": f"Bearer {token_for('alice')}"}, 200, b"abcdefghij"),
    ("GET", "/api/v1/images/public/url", {}, 200, None),
    ("GET", "/i/missing", {}, 404, None),
)


def versions(files: Path) -> list[str]:
    """Return the versions that the files send to the gateway."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(files.rglob("*.conf"))]
    return [version for text in texts for version in re.findall(r"X-Gateway-Config-Version (.*);", text)]


@pytest.mark.parametrize("is_old_gateway", [True, False], ids=["old gateway", "old files"])
@pytest.mark.parametrize("name", ["gateway.conf", "accel.conf"])
async def test_images_are_served_while_nginx_and_the_gateway_are_of_two_versions(
    previous: Release,
    raw_settings: RawSettings,
    images: Images,
    cos: CosEmulator,
    tmp_path: Path,
    name: str,
    is_old_gateway: bool,
) -> None:
    await images.add("public", b"0123456789")
    await images.add("private", b"abcdefghij", public=False, owner="alice")
    raw_settings["image_proxy"]["delivery"] = "accel" if name == "accel.conf" else "stream"
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    program = previous.gateway if is_old_gateway else GATEWAY
    files = CONFIG if is_old_gateway else previous.tree / "config" / "nginx"
    async with (
        gateway_process("serve", "--config", str(config), program=program) as running,
        starting_nginx(tmp_path) as start_nginx,
    ):
        upstreams = {"image_gateway": running.public, "image_gateway_admin": running.admin}
        http = "".join(
            f"upstream {upstream} {{ server {address.removeprefix('http://')}; }}\n"
            for upstream, address in (*upstreams.items(), ("cos", f"127.0.0.1:{cos.port}"))
        )
        nginx = await start_nginx(http + (files / name).read_text(), files=files)
        for method, path, headers, status, body in REQUESTS:
            answer = await nginx.request(method, path, **headers)
            assert answer.status == status, (method, path, answer)
            assert body is None or answer.body == body
        if versions(previous.tree / "config" / "nginx") != versions(CONFIG):
            await running.line_with("nginx's files are not those of this release")
