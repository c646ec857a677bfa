"""Every answer and log line of a long mixed run, searched for every secret of the gateway."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml

from gateway.settings import Settings
from gateway_dev.cos_emulator.faults import Cut, Fault, Html, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow, ImagesTable
from tests.access.credentials import (
    ACCESS,
    COOKIE,
    EC_KEY,
    LINK_KEY,
    OLD_LINK_KEY,
    USER_HEADER,
    bearer,
    link_query,
    public_pem,
    token,
)
from tests.conftest import ADMIN_TOKEN, BUCKET, JWT_SECRET, SECRET_ID, SECRET_KEY, Images
from tests.hostile.test_requests import MALFORMED
from tests.processes import GatewayProcess, gateway_process
from tests.raw_client import exchange

pytestmark = pytest.mark.usefixtures("forked_commands")

KEY = "customers/4711/passport (front).png"
REDIS_PASSWORD = "the-password-of-redis"
POSTGRES_PASSWORD = "the-password-of-postgres"
STS_TOKEN = "the-security-token-of-temporary-credentials"
FORGED = token(key="another secret of at least thirty-two bytes")
GOOD = token(exp=int(time.time()) + 3600)

SECRETS = {
    "cos.secret_id": SECRET_ID,
    "cos.secret_key": SECRET_KEY,
    "cos.token": STS_TOKEN,
    "admin.token": ADMIN_TOKEN,
    "jwt.secret": JWT_SECRET,
    "signed_links.keys.new": LINK_KEY,
    "signed_links.keys.old": OLD_LINK_KEY,
    "the bucket": BUCKET,
    "the object key": "passport",
    "a presigned URL": "q-sign",
    "a security token": "x-cos-",
    "a good token": GOOD.rpartition(".")[2],
    "a forged token": FORGED.rpartition(".")[2],
    "the password of redis": REDIS_PASSWORD,
    "the password of postgres": POSTGRES_PASSWORD,
}


class Recording:
    """Every answer of the public port in ``public``; log lines and answers of the admin port in ``operator_output``."""

    def __init__(self, running: GatewayProcess, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.public: list[str] = []
        self.operator_output: list[str] = []
        self.signatures: set[str] = set()
        self.statuses: set[int] = set()
        self._session = session

    async def request(
        self, method: str, path: str, *, returns_url: bool = False, admin: bool = False, **options: Any
    ) -> None:
        """Send a request; record the response and the signatures that it must not repeat."""
        self.signatures.update(re.findall(r"sig=([A-Za-z0-9_-]{20,})", path))
        base = self.running.admin if admin else self.running.public
        try:
            async with self._session.request(method, base + path, allow_redirects=False, **options) as answer:
                body = (await answer.read()).decode(errors="replace")
                headers = dict(answer.headers)
        except aiohttp.ClientError:
            return
        self.statuses.add(answer.status)
        output = self.operator_output if admin else self.public
        if returns_url:
            self.signatures.update(re.findall(r"sig(?:nature)?=([A-Za-z0-9_-]{20,})", body + str(headers)))
            headers.pop("Location", None)
        else:
            output.append(f"{method} {answer.status} {body}")
        output.append(str(headers))


@asynccontextmanager
async def run(settings: dict[str, Any], folder: Path) -> AsyncIterator[Recording]:
    """Run a gateway that logs at debug level."""
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({**settings, "logging": {"level": "debug"}}))
    async with gateway_process("serve", "--config", str(file)) as running:
        async with aiohttp.ClientSession() as session:
            recording = Recording(running, session)
            yield recording
        running.terminate()
        assert await running.exit_code() == 0
    recording.operator_output += running.lines


async def test_no_response_or_log_line_contains_a_secret(
    raw_settings: dict[str, Any],
    links_table: ImagesTable,
    images: Images,
    cos: CosEmulator,
    tmp_path: Path,
    redis_client: object,
) -> None:
    raw_settings["access"] = ACCESS
    raw_settings["image_styles"] = {"thumb": "imageMogr2/thumbnail/10x10"}
    raw_settings["image_proxy"] = {"timeout": 1, "retry_count": 1}
    raw_settings["server"]["keepalive_timeout"] = 0.5
    await images.add("mine", b"x" * 200_000, key=KEY, owner="alice", public=False)
    await images.add("open", b"body", key=f"open/{KEY}")
    await images.add_row(ImageRow("odd", "alice", "/passport/../../", public=True))
    await images.add_row(ImageRow("lost", "alice", f"lost/{KEY}", public=True))
    async with run(raw_settings, tmp_path) as recording:
        await _mixed_run(recording, cos)
        links_table.execute("DROP TABLE image_gateway_links")
        await recording.request("DELETE", "/api/v1/images/mine/links", headers=bearer(GOOD))
        await recording.request("GET", "/metrics", admin=True)
        for _ in range(2):
            await recording.request("GET", "/readyz", admin=True)
    assert recording.statuses >= {200, 206, 302, 304, 400, 401, 404, 416, 502, 503}
    assert any('"level": "debug"' in line for line in recording.operator_output)
    _assert_no_leak(recording)


async def test_no_response_or_log_line_contains_a_secret_while_dependencies_fail(
    raw_settings: dict[str, Any], cos: CosEmulator, tmp_path: Path, unused_tcp_port: int
) -> None:
    raw_settings["access"] = {**ACCESS, "jwt": {"public_key": public_pem(EC_KEY)}}
    raw_settings["redis"] = {"url": f"redis://:{REDIS_PASSWORD}@127.0.0.1:{unused_tcp_port}/0", "timeout": 0.1}
    dsn = f"postgresql://gateway:{POSTGRES_PASSWORD}@127.0.0.1:{unused_tcp_port}/app"
    raw_settings["postgres"] = {"dsn": dsn, "timeout": 0.5}
    raw_settings["cos"] |= {"token": STS_TOKEN, "token_expires_at": 1}
    async with run(raw_settings, tmp_path) as recording:
        for path in ("/i/open", "/i/open?redirect=true", "/api/v1/images/open/url", "/readyz"):
            await recording.request("GET", path, headers=bearer(GOOD))
        await recording.request("GET", "/metrics", admin=True)
    _assert_no_leak(recording)


def test_settings_print_no_secret(raw_settings: dict[str, Any]) -> None:
    raw_settings["access"] = ACCESS
    raw_settings["redis"] = {"url": f"redis://:{REDIS_PASSWORD}@127.0.0.1:6379/0"}
    raw_settings["postgres"] = {"dsn": f"postgresql://gateway:{POSTGRES_PASSWORD}@127.0.0.1/app"}
    raw_settings["cos"] |= {"token": STS_TOKEN}
    settings = Settings.model_validate(raw_settings)
    secrets = {name: value for name, value in SECRETS.items() if value != BUCKET}
    for printed in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "***" in printed
        assert not [name for name, value in secrets.items() if value in printed]


async def _mixed_run(recording: Recording, cos: CosEmulator) -> None:
    """Send requests of owners, other users and attackers, then requests during COS failures."""
    alice, bob = bearer(GOOD), bearer(token(sub="bob", exp=int(time.time()) + 3600))
    header_sets: list[dict[str, str]] = [
        {},
        alice,
        bob,
        bearer(FORGED),
        bearer(ADMIN_TOKEN),
        bearer(ADMIN_TOKEN + "x"),
        {"Authorization": f"Basic {FORGED}"},
        {"Cookie": f"{COOKIE}={FORGED}"},
        {"Cookie": f"{COOKIE}={GOOD}"},
        {USER_HEADER: "bob"},
        {"Range": "bytes=0-9", **alice},
        {"Range": "bytes=999999999-", **alice},
        {"If-None-Match": "*", **alice},
    ]
    requests: list[tuple[str, str]] = []
    for image_id in ("mine", "open", "odd", "lost", "never-there", "-bad"):
        queries = ("", "?style=thumb", f"?{link_query(f'/i/{image_id}')}", "?sig=AAAA&kid=new", "?style=no")
        requests += [("GET", f"/i/{image_id}{query}") for query in queries]
        requests += [("HEAD", f"/i/{image_id}"), ("GET", f"/api/v1/images/{image_id}/status")]
    for headers in header_sets:
        # At the same time, because a denial is held for 25 ms at least.
        await asyncio.gather(*(recording.request(method, path, headers=headers) for method, path in requests))
    for path in ("/i/mine?redirect=true", "/api/v1/images/mine/url"):
        await recording.request("GET", path, headers=alice, returns_url=True)
        await recording.request("GET", path, headers=bob)
    for name, body in (("url/refresh", None), ("link", {"expires_in": 60})):
        path = f"/api/v1/images/mine/{name}"
        await recording.request("POST", path, headers=alice, json=body, returns_url=True)
        await recording.request("POST", path, headers=bob, json=body)
    ids = {"image_ids": ["mine", "open", "odd", "../x"]}
    await recording.request("POST", "/api/v1/images/urls", headers=alice, json=ids, returns_url=True)
    await recording.request("POST", "/api/v1/images/urls", data=b"{" + GOOD.encode())
    await recording.request("DELETE", "/api/v1/images/mine/links", headers=alice)
    await recording.request("GET", f"/i/mine?{link_query('/i/mine')}")
    for action in (
        Refuse(status=403, code="AccessDenied", message=f"{SECRET_ID} {KEY}"),
        Refuse(status=403, code="SignatureDoesNotMatch"),
        Refuse(status=404, code="NoSuchKey"),
        Refuse(status=500, code="InternalError"),
        Refuse(status=503, code="SlowDown"),
        Html(),
        Cut(at=100_000),
    ):
        cos.faults.add(Fault(action=action, times=None))
        await recording.request("GET", "/i/mine", headers=alice)
        cos.faults.clear()
    token_field = b"Authorization: Bearer " + GOOD.encode() + b"\r\nX-A"
    hostile = [data.replace(b"X-A", token_field, 1) for data in MALFORMED.values()]
    for received in await asyncio.gather(*(exchange(recording.running.public, data) for data in hostile[:40])):
        recording.public.append(received.decode(errors="replace"))


def _assert_no_leak(recording: Recording) -> None:
    """Assert that no response, log line or metric contains a secret; only operator output may name the bucket."""
    secrets = {**SECRETS, **{f"a signature {number}": value for number, value in enumerate(recording.signatures)}}
    _assert_no_secret_in("\n".join(recording.public), secrets)
    operator_secrets = {name: value for name, value in secrets.items() if value != BUCKET}
    _assert_no_secret_in("\n".join(recording.operator_output), operator_secrets)


def _assert_no_secret_in(output: str, secrets: Mapping[str, str]) -> None:
    assert output.count("\n") > 5
    for spelled in (lambda text: text, quote, lambda text: quote(text, safe="")):
        assert not [name for name, value in secrets.items() if spelled(value) in output]
