"""What leaves the gateway in spans: no query, no signature, no token, no password, no object key and no value.

Real requests of every kind go through gateways in every trouble, and everything that a collector got is searched.
"""

import asyncio
import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.faults import Cut, Fault, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImagesTable
from tests.conftest import ADMIN_TOKEN, BUCKET, JWT_SECRET, SECRET_ID, SECRET_KEY, Images, StartGateway, token_for
from tests.stories.test_variants import photo
from tests.tracing.collector import Collector, attributes_of
from tests.waiting import until

ON: dict[str, Any] = {"enabled": True}
STYLES = {"card": {"widths": [160], "formats": ["webp"]}}
LINK_SECRET = "the-secret-of-links-has-thirty-two-bytes"
SESSION_TOKEN = "the-session-token-of-the-role"
REDIS_PASSWORD, POSTGRES_PASSWORD = "the-password-of-redis", "the-password-of-postgres"
TYPED = "typed-into-the-address"
# Parameters of COS and of links, and what a query, a form or a connection string looks like.
PATTERN = re.compile(
    r"\?|%3f|q-s|q-ak|q-url|q-header|q-key|x-cos-security|security-token|sig=|exp=|sign|token|secret|password|bearer|"
    r"authorization|cookie|imageMogr2|://[^/]*@|traceback|File \"",
    re.IGNORECASE,
)


async def test_no_span_has_a_secret(
    start_gateway: StartGateway,
    images: Images,
    links_table: ImagesTable,
    redis_url: str,
    collector: Collector,
) -> None:
    del links_table
    secrets = {SECRET_KEY, SECRET_ID, SESSION_TOKEN, JWT_SECRET, LINK_SECRET, ADMIN_TOKEN, TYPED}
    secrets |= {REDIS_PASSWORD, POSTGRES_PASSWORD, token_for("alice"), "the value of the placeholder"}
    await images.add("cat", photo(), content_type="image/jpeg")
    await images.add("mine", photo(), content_type="image/jpeg", owner="alice", public=False)
    await images.add("odd", b"data", key=f"{TYPED}/?sign=+&#.png")
    credentials = {SECRET_ID: Credential(SECRET_KEY, token=SESSION_TOKEN)}
    async with CosEmulator(images.cos.store, credentials, default_bucket=BUCKET) as cos:
        sections: dict[str, Any] = {
            "tracing": ON,
            "cos": {"token": SESSION_TOKEN, "domain": f"127.0.0.1:{cos.port}"},
            "image_styles": STYLES,
            "image_variants": {"negotiate": "accept"},
            "image_proxy": {"retry_count": 1, "memory_cache": {"max_bytes": 0}},
            "access": {"jwt": {"secret": JWT_SECRET}, "signed_links": {"keys": {"k1": LINK_SECRET}}},
        }
        gateway = await start_gateway(**sections)
        alice = {"Authorization": f"Bearer {token_for('alice')}", "Cookie": f"session={TYPED}", "X-User-Id": TYPED}
        secrets.add(alice["Authorization"].removeprefix("Bearer "))

        url = (await gateway.get("/api/v1/images/cat/url")).json()["data"]["url"]
        redirect = (await gateway.get("/i/cat?redirect=true")).headers["Location"]
        link = (
            await gateway.request("POST", "/api/v1/images/mine/link", json={"expires_in": 600}, headers=alice)
        ).json()["data"]["url"]
        for signed in (url, redirect, link):
            secrets |= {
                value for values in parse_qs(urlsplit(signed).query).values() for value in values if len(value) > 9
            }
            secrets |= {unquote(value) for value in list(secrets)}
        signed_path = link[link.index("/i/") :] if "/i/" in link else f"{urlsplit(link).path}?{urlsplit(link).query}"

        asked = [
            *("/i/cat", "/i/mine", "/i/odd", "/i/missing", f"/i/cat?token={TYPED}", f"/{TYPED}", f"/i/{TYPED}%3Fsig=1"),
            *(f"/i/cat%3Fsig={TYPED}", "/i/cat?style=card&w=160&format=webp", "/i/cat?style=card&w=160&format=auto"),
            *("/i/cat?style=none", "/api/v1/images/cat/meta", signed_path, f"{signed_path}x", f"/i/cat?v={TYPED}"),
            *("/api/v1/images/cat/status", f"/static/{TYPED}", "/openapi.json", f"/api/v1/images/{TYPED}/a/access"),
        ]
        statuses = [(await gateway.get(path, headers=headers)).status for headers in (alice, {}) for path in asked]
        assert {200, 400, 401, 404} <= set(statuses)
        tracestate = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": f"a={TYPED}"}
        await gateway.get(f"/i/cat?q-signature={TYPED}", headers={**alice, **tracestate, "Range": "bytes=0-1"})
        for body in (
            {"image_ids": ["cat", "mine", "odd"], "include": ["meta"]},
            {"image_ids": [TYPED + "?"]},
            {"token": TYPED},
        ):
            await gateway.request("POST", f"/api/v1/images/urls?token={TYPED}", json=body, headers=alice)
        await gateway.request(
            "POST", "/api/v1/images/links", json={"image_ids": ["mine"], "expires_in": 600}, headers=alice
        )
        await gateway.request("DELETE", "/api/v1/images/mine/links", headers=alice)
        await gateway.request("GET", f"/api/v1/monitoring/explain/cat?user={TYPED}", admin=True, headers=alice)

        # COS fails: with a code that quotes, by refusing URLs, after the first byte, and by not being there.
        for action in (
            Refuse(status=503, code="SlowDown", message=f"see {url}"),
            Refuse(status=403, code="AccessDenied", message=f"see {url}"),
            Cut(at=0),
            Refuse(status=500, code=f"Internal?q-signature={TYPED}"),
        ):
            cos.faults.clear()
            cos.faults.add(Fault(action=action, times=None))
            assert (await gateway.get("/i/cat")).status >= 500
        cos.faults.clear()
        cos.faults.add(Fault(action=Cut(at=100), times=None))
        with suppress(OSError):  # the gateway resets the connection
            await gateway.get("/i/cat")
        cos.faults.clear()

        away = await start_gateway(**{**sections, "cos": {**sections["cos"], "domain": "127.0.0.1:1"}})
        assert (await away.get("/i/cat")).status == 502
        locked = await start_gateway(
            **sections, redis={"url": redis_url.replace("redis://", f"redis://:{REDIS_PASSWORD}@")}
        )
        assert (await locked.get("/i/cat")).status == 200
        dsn = f"postgresql://images:{POSTGRES_PASSWORD}@127.0.0.1:1/images?application_name={TYPED}"
        no_rows = await start_gateway(**sections, postgres={"dsn": dsn}, redis={"url": "redis://127.0.0.1:1"})
        assert (await no_rows.get("/i/cat")).status == 503

    for started in (gateway, away, locked, no_rows):
        await started.close()
    await asyncio.sleep(0)
    await until(lambda: len(collector.named("GET /i/{image_id}")) > 30)

    names = {span.name for span in collector.spans}
    assert {"GET", "SELECT images", "INSERT image_gateway_links", "POST /api/v1/images/urls"} <= names
    kinds = {attributes_of(span).get("db.system.name") for span in collector.spans}
    assert kinds == {None, "redis", "postgresql"}
    failed = {attributes_of(span).get("error.type") for span in collector.spans} - {None}
    assert {
        "403",
        "503",
        "origin_throttled",
        "catalog_unavailable",
        "ClientConnectorError",
        "OperationalError",
    } <= failed

    text = collector.text()
    found = {secret for secret in secrets if secret in text}
    assert not found, f"{found} of {len(secrets)}"
    assert not PATTERN.findall(text)
    for span in collector.spans:
        assert not span.events, "an event is the message of an exception"
        assert not span.status.message
        assert not span.links
