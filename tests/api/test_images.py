"""Handlers for one image: its URL, its status, its refresh; its bytes for the console."""

import logging
import time
from itertools import product
from urllib.parse import parse_qsl, urlsplit

import pytest
import yarl

from gateway_dev.cos_emulator.faults import Fault, Refuse
from tests.conftest import ADMIN_TOKEN, BUCKET, Answer, Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT


async def call(gateway: RunningGateway, method: str, path: str, bearer: str | None = None) -> Answer:
    """Send a request about the image ``cat``."""
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return await gateway.request(method, f"/api/v1/images/cat/{path}", headers=headers)


async def test_a_url_is_the_same_until_its_owner_signs_a_new_one_and_the_status_signs_none(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("cat", b"a cat", owner="alice")
    alice = token_for("alice")
    status = (await call(gateway, "GET", "status", alice)).json()["data"]
    assert status.keys() == {
        "image_id",
        "cached",
        "expires_at",
        "refresh_due_at",
        "created_at",
        "last_access",
        "access_count",
        "refresh_count",
    }
    assert (status["cached"], status["expires_at"], status["last_access"]) == (False, None, None)
    assert gateway.sample("presigns_total") == 0
    before = time.time()
    first = (await call(gateway, "GET", "url")).json()["data"]
    assert first.keys() == {"image_id", "url", "expires_at", "from_cache", "version", "access_count"}
    signed = dict(parse_qsl(urlsplit(first["url"]).query))
    assert int(signed["q-sign-time"].partition(";")[2]) == first["expires_at"]
    async with gateway.session.get(yarl.URL(first["url"], encoded=True)) as answer:
        assert await answer.read() == b"a cat"
    assert (first["image_id"], first["from_cache"], first["access_count"]) == ("cat", False, 1)
    assert before + 3600 - 301 <= first["expires_at"] <= time.time() + 3600
    assert (await call(gateway, "GET", "url")).json()["data"] == {**first, "from_cache": True, "access_count": 2}
    renewed = await call(gateway, "POST", "url/refresh", alice)
    assert renewed.status == 200
    data = renewed.json()["data"]
    assert data.keys() == {"image_id", "url", "expires_at"}
    assert data["expires_at"] > before + 3600 - 1
    assert (await call(gateway, "GET", "url")).json()["data"]["url"] == data["url"]
    status = (await call(gateway, "GET", "status", alice)).json()["data"]
    assert status["cached"] is True
    assert status["expires_at"] == data["expires_at"] >= first["expires_at"]
    assert (status["access_count"], status["refresh_count"]) == (3, 1)
    assert abs(status["last_access"] - time.time()) < LIMIT


async def test_a_refresh_returns_no_url_of_an_image_that_has_changed_hands(
    start_gateway: StartGateway, images: Images
) -> None:
    """The cached row names the owner of before, and only the refresh reads the row."""
    gateway = await start_gateway(postgres={"listen": False})
    await images.add("cat", owner="alice", public=False)
    assert (await call(gateway, "GET", "url", token_for("alice"))).status == 200
    await images.add("cat", owner="bob", public=False)
    refused = await call(gateway, "POST", "url/refresh", token_for("alice"))
    assert (refused.status, refused.json()["code"]) == (404, "image_not_found")
    assert (await call(gateway, "GET", "url", token_for("alice"))).status == 404
    assert (await call(gateway, "POST", "url/refresh", token_for("bob"))).status == 200


INVALID_IDS = (
    "-leading", "a%2Fb", "a%5Cb", "%00", "a%00b", "a%0d%0aSet-Cookie:%20x", "%ff%fe", "%ED%A0%80", "%F0%9F%98%80",
    "x" * 129, "x" * 3000, "a%20b", "a;b", "'%20OR%201=1--", "%25", "..", "%2e%2e", "..%2f..%2fetc%2fpasswd",
)  # fmt: skip


async def test_an_invalid_id_is_refused_before_the_look_up(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    forms = ("/i/{}", *(f"/api/v1/images/{{}}/{call}" for call in ("proxy", "url", "status")))
    for raw_id, form in product(INVALID_IDS, forms):
        url = yarl.URL(gateway.ports.public + form.format(raw_id), encoded=True)
        async with gateway.session.get(url, allow_redirects=False) as answer:
            assert answer.status in (400, 404)
            assert (await answer.json())["code"] in ("invalid_image_id", "not_found")
    for tier in ("local", "redis"):
        assert gateway.sample("url_cache_lookups_total", tier=tier, result="miss") == 0
    assert gateway.sample("catalog_queries_total", result="missing") == 0
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]


async def test_an_unsupported_method_is_a_405_with_the_supported_ones(gateway: RunningGateway) -> None:
    for method, path, allow in (
        ("GET", "/api/v1/images/cat/url/refresh", {"POST", "OPTIONS"}),
        ("POST", "/api/v1/images/cat/url", {"GET", "OPTIONS"}),
        ("GET", "/api/v1/images/urls", {"POST", "OPTIONS"}),
        ("POST", "/i/cat", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/i/cat", {"GET", "HEAD", "OPTIONS"}),
    ):
        answer = await gateway.request(method, path)
        assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(",")) == allow


async def test_a_cors_preflight_is_answered_for_every_image_route(gateway: RunningGateway) -> None:
    """A token in a header is allowed; cookies are not, because credentials are not allowed."""
    for path, methods in (
        ("/i/cat", "GET, HEAD, OPTIONS"),
        ("/api/v1/images/cat/proxy", "GET, HEAD, OPTIONS"),
        ("/api/v1/images/cat/url", "GET, OPTIONS"),
        ("/api/v1/images/cat/url/refresh", "OPTIONS, POST"),
        ("/api/v1/images/cat/links", "DELETE, OPTIONS"),
        ("/api/v1/images/urls", "OPTIONS, POST"),
        ("/api/v1/images/links", "OPTIONS, POST"),
        ("/api/v1/monitoring/beacons", "OPTIONS, POST"),
        # An id may be any text until it is validated, also one with a line break.
        *((f"/api/v1/images/%C3%8C%0AR/{call}", "GET, HEAD, OPTIONS") for call in ("access", "proxy")),
        ("/i/%C3%8C%0AR", "GET, HEAD, OPTIONS"),
    ):
        answer = await gateway.request("OPTIONS", path, headers={"Origin": "https://shop.example"})
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["Allow"] == answer.headers["Access-Control-Allow-Methods"] == methods
        may_send = answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"Authorization", "Content-Type", "Range", "If-Match", "If-Unmodified-Since"} <= set(may_send)


async def test_a_page_of_another_site_can_read_the_headers_of_errors(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    answer = await gateway.get("/i/cat", headers={"Range": "bytes=99999-"})
    exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
    assert answer.status == 416
    assert {"Content-Range", "Retry-After", "X-Request-Id"} <= set(exposed)


ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def preview_of(image_id: str) -> str:
    return f"/api/v1/monitoring/preview/{image_id}"


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_a_private_image_is_sent_to_the_admin_from_cos_and_from_memory(
    gateway: RunningGateway, images: Images, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    data = b"x" * size
    await images.add("a", data, owner="alice", public=False, headers={"x-cos-meta-secret": "1"})
    caplog.set_level(logging.INFO)
    for _ in range(2):  # the second small one is in memory
        answer = await gateway.get(preview_of("a"), admin=True, headers=ADMIN)
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert [name for name in answer.headers if name.lower().startswith(("access-control", "x-cos", "vary"))] == []
    assert len(images.cos.request_log.requests) == (1 if size == 1000 else 2)
    assert "image shown to the admin: image=a" in caplog.messages
    assert gateway.sample("requests_total", route="admin:preview", delivery="none", status="200") == 2
    usage = (await gateway.get("/api/v1/images/a/status", user="alice")).json()["data"]
    assert usage["access_count"] == 0


async def test_nobody_else_gets_it(gateway: RunningGateway, images: Images, start_gateway: StartGateway) -> None:
    await images.add("a", owner="alice", public=False)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token_for('alice')}"}):
        answer = await gateway.get(preview_of("a"), admin=True, headers=headers)
        assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
    assert (await gateway.get(preview_of("a"), headers=ADMIN)).status == 404  # the public port does not have it
    without_token = await start_gateway(admin={"token": None})
    assert (await without_token.get(preview_of("a"), admin=True, headers=ADMIN)).status == 403
    assert len(images.cos.request_log.requests) == 0


async def test_what_cannot_be_shown_says_why(gateway: RunningGateway, images: Images) -> None:
    await images.add("page", b"<html>", content_type="text/html")
    await images.add("inactive", status="deleted")
    await images.add("gone")
    images.cos.store.delete(BUCKET, "objects/gone.png")
    for image_id, status, code in (
        ("page", 502, "not_an_image"),
        ("inactive", 404, "image_not_found"),
        ("gone", 404, "image_not_found"),
        ("never-there", 404, "image_not_found"),
        ("a%00b", 400, "invalid_image_id"),
    ):
        answer = await gateway.get(preview_of(image_id), admin=True, headers=ADMIN)
        assert (answer.status, answer.json()["code"]) == (status, code), image_id


async def test_a_row_that_moved_meanwhile_is_looked_up_again(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(postgres={"listen": False}, url_cache={"local_ttl": 300})
    await images.add("a", b"old", key="objects/old.png")
    assert (await gateway.get(preview_of("a"), admin=True, headers=ADMIN)).body == b"old"
    gateway.forget("a")
    await images.add("a", b"new", key="objects/new.png")
    images.cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), key="objects/old.png"))
    assert (await gateway.get(preview_of("a"), admin=True, headers=ADMIN)).body == b"new"
