"""Redis and Postgres are not trusted with destinations: a poisoned one redirects no request or client."""

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import redis

from gateway.presign.style_variants import ImageVariant
from gateway.redis_entries.url_entries import EntryMac
from gateway.settings import Live
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.access.deliveries import BODY, DELIVERIES
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway

EVIL = "http://127.0.0.1:1"

MINE = ImageVariant("mine")


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    """The entry with other values."""

    def change(entry: bytes) -> bytes:
        end, _, body = entry.partition(b" ")
        return end + b" " + json.dumps({**json.loads(body), **changes}).encode()

    return change


def body_of(entry: bytes, mac: EntryMac) -> Any:
    """The cached entry of the image."""
    return json.loads(mac.verify(entry, MINE).partition(b" ")[2])


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """The entry with another text."""
    return lambda entry: entry.replace(old.encode(), new.encode())


def ends(at: int) -> Callable[[bytes], bytes]:
    """The entry with another end."""
    return lambda entry: b"%d %s" % (at, entry.partition(b" ")[2])


POISONS: dict[str, Callable[[bytes], bytes]] = {
    "a-url": changed(url=f"{EVIL}/objects/mine.png"),
    "more-parameters": changed(ak="AKID&response-content-type=text/html"),
    "a-header-in-the-url": changed(token="a\r\nSet-Cookie: a=b"),
    "another-secret-id": changed(ak="AKIDother"),
    "a-check-of-nothing": changed(check=""),
    "another-key": changed(key="objects/secret.png"),
    "another-bucket": changed(bucket="other-1250000000"),
    "a-bucket-that-is-a-host": changed(bucket="evil.example/x?-1"),
    "a-region-that-is-a-path": changed(region="x/../y"),
    "a-region-that-the-sdk-refuses": changed(region="-"),
    "a-key-that-lists-the-bucket": changed(key="/../"),
    "an-empty-key": changed(key=""),
    "a-key-of-900-bytes": changed(key="k" * 900),
    "an-end-in-a-thousand-years": ends(33_000_000_000),
    "an-end-that-is-long-ago": ends(1),
    "an-end-in-words": lambda entry: b"never " + entry.partition(b" ")[2],
    "an-end-of-5000-digits": lambda entry: b"9" * 5000 + b" " + entry.partition(b" ")[2],
    "signed-in-the-future": changed(signed_at=33_000_000_000),
    "signed-before-time": changed(signed_at=-(10**30)),
    "another-signature": replaced('"sig":"', '"sig":"0'),
    "another-style": changed(rendition="huge"),
    "another-image": changed(id="other"),
    "another-release": changed(v=3),
    "no-entry": lambda _: b"\x00\xff",
    "deep": lambda _: b"1 " + b"[" * 100_000,
}


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_a_forged_cache_entry_is_not_used(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, redis_client: "redis.Redis", delivery: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": delivery}, url_cache={"local_ttl": 0})
    mac = gateway.redis.mac
    await images.add("mine", BODY)
    cos.store.put(BUCKET, "objects/secret.png", b"a secret", content_type="image/png")
    assert DELIVERIES[delivery](await gateway.get("/i/mine"))
    # The signature differs if a new signing window began in between.
    changes_with_window = dict.fromkeys(("sig", "check", "signed_at", "read_at"))
    for name, poison in POISONS.items():
        entry = redis_client.get("image:url:mine")
        assert isinstance(entry, bytes)
        # As a program that knows the gateway's secret would: the entry must hold without its MAC.
        poisoned = mac.sign(poison(mac.verify(entry, MINE)), MINE)
        assert poisoned != entry, name
        redis_client.set("image:url:mine", poisoned, ex=60)
        answer = await gateway.get("/i/mine")
        assert DELIVERIES[delivery](answer), name
        assert not any(evil in answer.headers.get("Location", "") for evil in ("evil", EVIL)), name
        mended = redis_client.get("image:url:mine")
        assert isinstance(mended, bytes)
        assert mended != poisoned, name
        assert body_of(mended, mac) | changes_with_window == body_of(entry, mac) | changes_with_window, name
    assert not cos.request_log.of("objects/secret.png")


async def test_access_does_not_depend_on_unsigned_values_in_redis(
    start_gateway: StartGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    # Not listening, since rows cached right after listening began are read again.
    gateway = await start_gateway(url_cache={"local_ttl": 0}, postgres={"listen": False})
    await images.add("mine", BODY, owner="alice", public=False)
    await gateway.get("/i/mine", user="alice")
    changes: list[dict[str, Any]] = [{"owner": "bob"}, {"public": True}, {"killed": 0}, {}]
    own = gateway.redis.mac
    for change, mac in product(changes, (None, EntryMac(Live(("another secret", None)), "sources"))):
        entry = redis_client.get("image:url:mine")
        assert isinstance(entry, bytes)
        forged = changed(**change)(own.verify(entry, MINE))
        redis_client.set("image:url:mine", forged if mac is None else mac.sign(forged, MINE), ex=60)
        assert (await gateway.get("/i/mine", user="bob")).status == 404, change
        assert (await gateway.get("/i/mine", user="alice")).status == 200, change
        mended = redis_client.get("image:url:mine")
        assert isinstance(mended, bytes)
        assert body_of(mended, own)["owner"] == "alice", change


async def test_a_row_that_names_no_object_is_refused_with_a_metric(
    gateway: RunningGateway, images: Images, cos: CosEmulator, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ("", "/", "//", "/../", "../..", "a/..", "./", "k" * 900, "图" * 300)
    places = (("evil.example/x?-1", None), ("photos", None), (None, "x/../y"), (None, "evil.example"), (None, "-"))
    rows = [ImageRow("odd", "alice", key, public=True) for key in keys]
    rows += [
        ImageRow("odd", "alice", "a.png", bucket=bucket, region=region, public=True)
        for bucket, region in (*places, (None, "r" * 64), ("p" * 70 + "-1", None))
    ]
    refused = 0
    for row in rows:
        await images.add_row(row)
        for path in ("/i/odd", "/i/odd?redirect=true", "/api/v1/images/odd/url"):
            gateway.forget("odd")
            answer = await gateway.get(path)
            assert (answer.status, answer.json()["code"]) == (404, "image_not_found"), row
        counted = gateway.sample("catalog_queries_total", result="unusable")
        assert counted > refused, row
        refused = int(counted)
        key = row.key
        assert len(key) <= 5 or not any(key in record.getMessage() for record in caplog.records)
    assert cos.request_log.of("", "GET") == []
