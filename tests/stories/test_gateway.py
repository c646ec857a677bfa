"""Whole-service stories: what a client sees, on real Redis, Postgres and the COS stand-in."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
import redis
import yarl

from gateway.cos_emulator.faults import Fault, Html, Redirect, Refuse
from gateway.cos_emulator.faults import Headers as AddedHeaders
from gateway.cos_emulator.server import CosEmulator
from gateway.dev.database import ImageRow
from tests.conftest import ADMIN_TOKEN, BUCKET, Images, RunningGateway, StartGateway, token_for

AWKWARD_KEYS = [
    "with space.png",
    "a+b.png",
    "100%.png",
    "a%2Fb.png",
    "%E5%9B%BE.png",
    "hash#1.png",
    "what?.png",
    "a&b=c.png",
    "quo\"te's.png",
    "br[ac]k{e}ts(1).png",
    "dot/./dot.png",
    "up/../down.png",
    "double//slash.png",
    "trailing/",
    "图片/山 与 湖（最终）.png",
    "tilde~-_.!*'().png",
    "back\\slash.png",
    "semi;colon,comma.png",
    "😀.png",
]


async def test_a_public_image_arrives_byte_for_byte(gateway: RunningGateway, images: Images) -> None:
    data = bytes(range(256)) * 600
    await images.add("sunrise", data, content_type="image/jpeg")
    for path in ("/api/v1/images/sunrise/proxy", "/i/sunrise"):
        answer = await gateway.get(path)
        assert (answer.status, answer.body) == (200, data)
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["ETag"])
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Cache-Control"].startswith("public, max-age=3600, stale-while-revalidate=")


async def test_nothing_of_cos_leaves_with_an_image(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("a", headers={"x-cos-meta-secret": "1", "Content-Disposition": "attachment"})
    hostile = [("Set-Cookie", "a=b"), ("X-Accel-Redirect", "/etc/passwd"), ("Refresh", "0"), ("Server", "tencent-cos")]
    cos.faults.add(Fault(action=AddedHeaders(add=hostile)))
    answer = await gateway.get("/i/a")
    assert answer.status == 200
    names = {name.lower() for name in answer.headers}
    assert names == {
        "accept-ranges",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "cache-status",
        "content-length",
        "content-security-policy",
        "content-type",
        "cross-origin-resource-policy",
        "date",
        "etag",
        "last-modified",
        "server",
        "server-timing",
        "timing-allow-origin",
        "x-content-type-options",
        "x-request-id",
    }
    assert answer.headers["Server"] == "image-gateway"


@pytest.mark.parametrize("key", AWKWARD_KEYS)
async def test_awkward_object_keys_stream_and_redirect(gateway: RunningGateway, images: Images, key: str) -> None:
    await images.add("odd", key.encode() * 3, key=key)
    streamed = await gateway.get("/i/odd")
    assert (streamed.status, streamed.body) == (200, key.encode() * 3)

    redirected = await gateway.get("/i/odd?redirect=true")
    assert redirected.status == 302
    location = yarl.URL(redirected.headers["Location"], encoded=True)
    async with gateway.session.get(location) as answer:
        assert (answer.status, await answer.read()) == (200, key.encode() * 3)


async def test_one_leading_slash_of_a_key_is_no_part_of_it(gateway: RunningGateway, images: Images) -> None:
    """As in the SDK: applications store keys with and without it."""
    await images.add("a", b"body", key="folder/a.png")
    await images.add_row(ImageRow("slashed", None, "/folder/a.png", public=True))
    assert (await gateway.get("/i/slashed")).body == b"body"


async def test_requests_share_a_handful_of_connections_to_cos(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": 0}})
    await images.add("a", b"x" * 150_000)
    for _ in range(60):
        assert (await gateway.get("/i/a")).status == 200
    assert len(cos.journal.of("objects/a.png")) == 60
    assert cos.journal.connections <= 3


class TestPrivateImages:
    """A cached private image is as closed as an uncached one."""

    @pytest.mark.parametrize("warm", [False, True])
    @pytest.mark.parametrize("path", ["/i/mine", "/i/mine?redirect=true", "/api/v1/images/mine/url"])
    async def test_the_owner_alone_gets_it(
        self, gateway: RunningGateway, images: Images, path: str, warm: bool
    ) -> None:
        await images.add("mine", owner="alice", public=False)
        if warm:
            assert (await gateway.get("/i/mine", user="alice")).status == 200
        stranger = await gateway.get(path, user="bob")
        assert (stranger.status, stranger.json()["code"]) == (404, "image_not_found")
        assert (await gateway.get(path)).status == 404
        assert (await gateway.get(path, headers={"Authorization": "Bearer nonsense"})).status == 401
        owner = await gateway.get(path, user="alice")
        assert owner.status in (200, 302)
        assert owner.headers["Cache-Control"].startswith("private") or owner.headers["Cache-Control"] == "no-store"

    async def test_a_conditional_request_tells_a_stranger_nothing(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("mine", owner="alice", public=False)
        etag = (await gateway.get("/i/mine", user="alice")).headers["ETag"]
        assert (await gateway.get("/i/mine", user="alice", headers={"If-None-Match": etag})).status == 304
        assert (await gateway.get("/i/mine", user="bob", headers={"If-None-Match": etag})).status == 404
        assert (await gateway.get("/i/mine", user="bob", headers={"Range": "bytes=9999-"})).status == 404

    async def test_unknown_deleted_and_forbidden_are_one_answer(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("mine", owner="alice", public=False)
        await images.add("gone", owner="bob", status="deleted")
        bodies = set()
        for image_id in ("mine", "gone", "never-there"):
            answer = await gateway.get(f"/i/{image_id}", user="bob")
            assert answer.status == 404
            body = answer.json()
            assert body.pop("request_id") == answer.headers["X-Request-Id"]
            bodies.add(str(body))
        assert len(bodies) == 1

    async def test_bad_credentials_do_not_tell_whether_an_image_exists(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("mine", owner="alice", public=False)
        bad = {"Authorization": f"Bearer {token_for('alice', secret='another secret of thirty-two bytes!')}"}
        for image_id in ("mine", "never-there"):
            answer = await gateway.get(f"/i/{image_id}", headers=bad)
            assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_bad_credentials_do_not_close_a_public_image(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("open")
        assert (await gateway.get("/i/open", headers={"Authorization": "Bearer nonsense"})).status == 200


class TestWhenCosRefusesOrFails:
    """The client sees our outcome, and never COS's own words."""

    async def test_a_stale_url_is_renewed_once_before_the_client_sees_anything(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a", b"body")
        refused = cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied", message="Request has expired")))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body, refused.fired) == (200, b"body", 1)

    @pytest.mark.parametrize(
        ("status", "code", "seen", "seen_code"),
        [
            (403, "AccessDenied", 502, "origin_refused"),
            (404, "NoSuchKey", 404, "image_not_found"),
            (400, "ExpiredToken", 503, "credentials_expired"),
            (500, "InternalError", 502, "origin_unavailable"),
            (503, "SlowDown", 503, "origin_throttled"),
            (451, "UnavailableForLegalReasons", 451, "image_blocked"),
        ],
    )
    async def test_an_error_of_cos_becomes_ours(
        self,
        gateway: RunningGateway,
        images: Images,
        cos: CosEmulator,
        status: int,
        code: str,
        seen: int,
        seen_code: str,
    ) -> None:
        await images.add("a")
        cos.faults.add(Fault(action=Refuse(status=status, code=code), times=None))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.json()["code"]) == (seen, seen_code)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers["Cache-Control"] == "no-store"
        text = answer.body.decode() + str(answer.headers)
        for secret in ("<Error>", code, "objects/a.png", BUCKET, "q-sign", "x-cos"):
            assert secret not in text

    async def test_a_lasting_refusal_costs_two_requests_to_cos(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator
    ) -> None:
        await images.add("a")
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), times=None))
        assert (await gateway.get("/i/a")).status == 502
        assert len(cos.journal.of("objects/a.png")) == 2

    @pytest.mark.parametrize(
        "action", [Html(), Redirect(location="http://169.254.169.254/latest/meta-data/")], ids=["html", "redirect"]
    )
    async def test_what_is_no_image_never_leaves(
        self, gateway: RunningGateway, images: Images, cos: CosEmulator, action: Any
    ) -> None:
        await images.add("a")
        cos.faults.add(Fault(action=action, times=None))
        answer = await gateway.get("/i/a")
        assert answer.status == 502
        assert b"<" not in answer.body


class TestBadIds:
    """Whatever stands where an id should is a 4xx, never a 5xx, never a traceback."""

    @pytest.mark.parametrize(
        "raw",
        [
            "%00",
            "a%00b",
            "..",
            "%2e%2e",
            "..%2f..%2fetc%2fpasswd",
            "a%2Fb",
            "a%5Cb",
            "x" * 129,
            "x" * 3000,
            "a%0d%0aSet-Cookie:%20x",
            "%ff%fe",
            "%F0%9F%98%80",
            "%ED%A0%80",
            "-leading",
            "a%20b",
            "%25",
            "a;b",
            "'%20OR%201=1--",
        ],
    )
    @pytest.mark.parametrize("form", ["/i/{}", "/api/v1/images/{}/proxy", "/api/v1/images/{}/url"])
    async def test_a_bad_id_is_refused(
        self, gateway: RunningGateway, caplog: pytest.LogCaptureFixture, form: str, raw: str
    ) -> None:
        url = yarl.URL(gateway.ports.public + form.format(raw), encoded=True)
        async with gateway.session.get(url, allow_redirects=False) as answer:
            assert 400 <= answer.status < 500
            body = await answer.json()
        assert body["status"] == "error"
        assert body["code"] in {"invalid_image_id", "not_found"}
        assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]

    async def test_a_bad_id_reaches_neither_store(self, gateway: RunningGateway, redis_client: "redis.Redis") -> None:
        gets = redis_client.info("commandstats").get("cmdstat_get")
        assert (await gateway.get("/i/-bad")).status == 400
        assert gateway.sample("catalog_queries_total", result="missing") == 0
        assert redis_client.info("commandstats").get("cmdstat_get") == gets


async def test_the_hot_path_awaits_nothing_but_cos(
    gateway: RunningGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    await images.add("hot", b"x" * 1000)
    await gateway.get("/i/hot")
    queries = gateway.sample("catalog_queries_total", result="found")
    gets = redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0)
    for _ in range(20):
        assert (await gateway.get("/i/hot")).status == 200
    assert gateway.sample("catalog_queries_total", result="found") == queries == 1
    assert redis_client.info("commandstats").get("cmdstat_get", {}).get("calls", 0) == gets
    assert gateway.sample("url_cache_lookups_total", tier="local", result="hit") == 20
    assert gateway.sample("presigns_total") == 1


class TestUrls:
    """Presigned URLs for those who fetch from COS themselves."""

    async def test_a_url_opens_the_image_and_is_told_from_a_cached_one(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("a", b"body")
        first = (await gateway.get("/api/v1/images/a/url")).json()
        second = (await gateway.get("/api/v1/images/a/url")).json()
        assert first["status"] == "success"
        assert first["data"].keys() == {"image_id", "url", "expires_at", "from_cache", "access_count"}
        assert (first["data"]["from_cache"], second["data"]["from_cache"]) == (False, True)
        assert second["data"]["access_count"] == 2
        assert second["data"]["url"] == first["data"]["url"]
        async with gateway.session.get(yarl.URL(first["data"]["url"], encoded=True)) as answer:
            assert await answer.read() == b"body"
        signed = dict(parse_qsl(urlsplit(first["data"]["url"]).query))
        assert int(signed["q-sign-time"].partition(";")[2]) == first["data"]["expires_at"]

    async def test_a_refresh_signs_this_moment_for_owner_and_admin(
        self, gateway: RunningGateway, images: Images
    ) -> None:
        await images.add("a", owner="alice")
        old = (await gateway.get("/api/v1/images/a/url")).json()["data"]
        path = "/api/v1/images/a/url/refresh"
        assert (await gateway.request("POST", path)).status == 401
        stranger = await gateway.request("POST", path, headers={"Authorization": f"Bearer {token_for('bob')}"})
        assert stranger.status == 404
        for credentials in (token_for("alice"), ADMIN_TOKEN):
            answer = await gateway.request("POST", path, headers={"Authorization": f"Bearer {credentials}"})
            data = answer.json()["data"]
            assert (answer.status, data.keys()) == (200, {"image_id", "url", "expires_at"})
            assert data["expires_at"] >= old["expires_at"]
        assert (await gateway.get("/api/v1/images/a/url")).json()["data"]["expires_at"] == data["expires_at"]
        refused = await gateway.get(path)
        assert (refused.status, refused.headers["Allow"]) == (405, "OPTIONS,POST")
        assert refused.json()["code"] == "method_not_allowed"

    async def test_the_status_tells_how_a_url_was_used(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", owner="alice", public=False)
        path = "/api/v1/images/a/status"
        before = (await gateway.get(path, user="alice")).json()["data"]
        assert before == {
            "image_id": "a",
            "cached": False,
            "expires_at": None,
            "refresh_due_at": None,
            "created_at": None,
            "last_access": None,
            "access_count": 0,
            "refresh_count": 0,
        }
        await gateway.get("/i/a", user="alice")
        await gateway.request(
            "POST", "/api/v1/images/a/url/refresh", headers={"Authorization": f"Bearer {token_for('alice')}"}
        )
        after = (await gateway.get(path, user="alice")).json()["data"]
        assert (after["cached"], after["access_count"], after["refresh_count"]) == (True, 1, 1)
        assert after["created_at"] <= after["last_access"] + 1 < after["expires_at"]
        assert (await gateway.get(path, user="bob")).status == 404

    async def test_a_batch_leaves_out_what_may_not_be_seen(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("open")
        await images.add("mine", owner="alice", public=False)
        await images.add("bobs", owner="bob", public=False)
        asked = ["open", "mine", "bobs", "never-there", "..", "open"]
        answer = await gateway.request(
            "POST",
            "/api/v1/images/urls",
            json={"image_ids": asked},
            headers={"Authorization": f"Bearer {token_for('alice')}"},
        )
        data = answer.json()["data"]
        assert data["urls"].keys() == {"open", "mine"}
        assert data["errors"] == {
            "bobs": "image_not_found",
            "never-there": "image_not_found",
            "..": "invalid_image_id",
        }
        assert data["urls"]["open"].keys() == {"url", "expires_at", "from_cache"}

    async def test_a_batch_of_two_hundred_costs_one_query(self, gateway: RunningGateway, images: Images) -> None:
        rows = [ImageRow(f"id-{number}", None, f"key-{number}", public=True) for number in range(200)]
        await asyncio.to_thread(images.table.put, rows)
        body = {"image_ids": [row.image_id for row in rows]}
        answer = await gateway.request("POST", "/api/v1/images/urls", json=body)
        assert len(answer.json()["data"]["urls"]) == 200
        assert gateway.sample("catalog_queries_total", result="found") == 1
        again = await gateway.request("POST", "/api/v1/images/urls", json=body)
        assert {entry["from_cache"] for entry in again.json()["data"]["urls"].values()} == {True}
        body["image_ids"].append("one-more")
        assert (await gateway.request("POST", "/api/v1/images/urls", json=body)).status == 400


class TestHealthAndMetrics:
    """What operators look at."""

    async def test_a_whole_gateway_is_ready_on_both_ports(self, gateway: RunningGateway) -> None:
        for admin in (False, True):
            alive = await gateway.get("/healthz", admin=admin)
            assert (alive.status, alive.json()) == (200, {"status": "alive"})
            ready = await gateway.get("/readyz", admin=admin)
            assert ready.status == 200
            assert ready.json() == {
                "status": "ready",
                "checks": {"redis": "ok", "postgres": "ok", "cos": "ok"},
            }

    async def test_metrics_are_on_the_admin_port_alone(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", b"12345")
        await gateway.get("/i/a")
        await gateway.get("/i/never-there")
        assert (await gateway.get("/metrics")).status == 404
        answer = await gateway.get("/metrics", admin=True)
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.body.decode()
        assert 'image_gateway_requests_total{delivery="stream",route="short",status="200"} 1.0' in text
        assert 'image_gateway_requests_total{delivery="none",route="short",status="404"} 1.0' in text
        assert "image_gateway_response_bytes_total 5.0" in text
        assert "never-there" not in text
        assert "process_resident_memory_bytes" in text

    async def test_a_request_id_is_kept_if_it_is_safe(self, gateway: RunningGateway) -> None:
        kept = await gateway.get("/i/never-there", headers={"X-Request-Id": "trace-1234"})
        assert kept.headers["X-Request-Id"] == kept.json()["request_id"] == "trace-1234"
        replaced = await gateway.get("/i/never-there", headers={"X-Request-Id": "bad id {}"})
        assert re.fullmatch(r"[0-9a-f]{16}", replaced.headers["X-Request-Id"])


async def test_head_is_get_without_the_body(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("a", b"x" * 200_000)
    got, head = await gateway.get("/i/a"), await gateway.request("HEAD", "/i/a")
    assert (head.status, head.body) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Accept-Ranges"):
        assert head.headers[name] == got.headers[name]
    assert [seen.method for seen in cos.journal.of("objects/a.png")] == ["GET"]  # which told all there is to tell


async def test_a_redirect_never_outlives_its_url(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(url_cache={"default_ttl": 100, "min_remaining": 30})
    await images.add("a")
    answer = await gateway.request("HEAD", "/i/a?redirect=true")
    max_age = int(answer.headers["Cache-Control"].removeprefix("public, max-age="))
    assert 50 <= max_age <= 70
    async with gateway.session.head(yarl.URL(answer.headers["Location"], encoded=True)) as followed:
        assert followed.status == 200  # a URL signed for GET would be refused


async def test_delivery_redirect_is_the_default_when_configured(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"delivery": "redirect"})
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 302


async def test_the_proxy_can_be_turned_off(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy={"enabled": False})
    await images.add("a")
    assert (await gateway.get("/i/a")).status == 404
    assert (await gateway.get("/api/v1/images/a/url")).status == 200


async def test_a_gateway_without_url_cache_signs_every_time(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(url_cache={"enabled": False})
    await images.add("a")
    for _ in range(2):
        assert (await gateway.get("/api/v1/images/a/url")).json()["data"]["from_cache"] is False
    assert (await gateway.get("/readyz")).json()["checks"] == {"postgres": "ok", "cos": "ok"}


async def test_a_style_is_signed_into_the_url(start_gateway: StartGateway, images: Images, cos: CosEmulator) -> None:
    gateway = await start_gateway(image_styles={"thumb": "imageMogr2/thumbnail/300x300"})
    await images.add("a")
    assert (await gateway.get("/i/a?style=thumb")).status == 200
    assert "imageMogr2/thumbnail/300x300" in cos.journal.of("objects/a.png")[-1].query
    unknown = await gateway.get("/i/a?style=huge")
    assert (unknown.status, unknown.json()["code"]) == (400, "unknown_style")


async def test_a_download_carries_its_name(gateway: RunningGateway, images: Images) -> None:
    await images.add("a")
    answer = await gateway.get("/i/a", params={"download": "图 1.png"})
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"_ 1.png\"; filename*=UTF-8''%E5%9B%BE%201.png"
    )
    assert (await gateway.get("/i/a", params={"download": "../x"})).status == 400


async def test_a_client_that_goes_away_is_no_error_and_ends_the_transfer(
    gateway: RunningGateway, images: Images, cos: CosEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    await images.add("big", b"x" * 30_000_000)
    async with aiohttp.ClientSession(base_url=gateway.ports.public, read_bufsize=1024) as session:
        answer = await session.get("/i/big")
        await answer.content.readexactly(1000)
        answer.close()
    async with asyncio.timeout(5):
        await cos.journal.settled()
    seen = cos.journal.of("objects/big.png")[-1]
    assert seen.bytes_sent < 30_000_000
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
    assert gateway.sample("requests_total", route="short", delivery="stream", status="499") == 1
