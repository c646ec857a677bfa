"""Redis and Postgres are not trusted with destinations: a poisoned one redirects no request or client."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from gateway.presign.style_variants import ImageVariant
from gateway.redis_entries.url_entries import EntryCodec, EntryMac
from gateway.settings import Live
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.database import ImageRow
from tests.access.deliveries import BODY, DELIVERIES
from tests.conftest import BUCKET, SECRET_ID, Images, RunningGateway, StartGateway

EVIL = "http://127.0.0.1:1"

MINE = ImageVariant("mine")


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """The entry with another text."""
    return lambda entry: entry.replace(old.encode(), new.encode())


def ends(at: str) -> Callable[[bytes], bytes]:
    """The entry with another end."""
    return lambda entry: at.encode() + b" " + entry.partition(b" ")[2]


POISONS: dict[str, Callable[[bytes], bytes]] = {
    "another-key": replaced("mine.png", "secret.png"),
    "another-bucket": replaced(BUCKET, "other-1250000000"),
    "a-bucket-that-is-a-host": replaced(BUCKET, "evil.example/x?-1"),
    "another-start": replaced("[1", "[2"),
    "more-parameters": replaced(SECRET_ID, f"{SECRET_ID}&response-content-type=text/html"),
    "an-end-in-a-thousand-years": ends("33000000000"),
    "an-end-that-is-long-ago": ends("1"),
    "an-end-in-words": ends("never"),
    "an-end-of-5000-digits": ends("9" * 5000),
    "another-mac": lambda entry: entry[:11] + bytes(22) + entry[33:],
    "no-mac": lambda entry: entry[:11] + entry[34:],
    "a-url": lambda entry: entry[:33] + f' ["{EVIL}/objects/mine.png"]'.encode(),
    "another-release": lambda entry: entry[:33] + b' {"v":5,"public":true,"key":"objects/secret.png"}',
    "no-entry": lambda _: b"\x00\xff",
    "deep": lambda _: b"1 2 " + b"[" * 100_000,
}


@pytest.mark.parametrize("delivery", DELIVERIES)
async def test_a_forged_cache_entry_is_not_used(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, redis_client: "redis.Redis", delivery: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": delivery}, url_cache={"local_ttl": 0})
    codec = gateway.redis.entries.codec
    await images.add("mine", BODY)
    cos.store.put(BUCKET, "objects/secret.png", b"a secret", content_type="image/png")
    assert DELIVERIES[delivery](await gateway.get("/i/mine"))
    for name, poison in POISONS.items():
        entry = redis_client.get("image:url:mine")
        assert isinstance(entry, bytes)
        poisoned = poison(entry)
        assert poisoned != entry, name
        redis_client.set("image:url:mine", poisoned, ex=60)
        answer = await gateway.get("/i/mine")
        assert DELIVERIES[delivery](answer), name
        assert not any(evil in answer.headers.get("Location", "") for evil in ("evil", EVIL)), name
        mended = redis_client.get("image:url:mine")
        assert isinstance(mended, bytes)
        assert mended != poisoned, name
        assert codec.decode(mended, MINE).record == codec.decode(entry, MINE).record, name
    assert not cos.request_log.of("objects/secret.png")


async def test_access_does_not_depend_on_unsigned_values_in_redis(
    start_gateway: StartGateway, images: Images, redis_client: "redis.Redis"
) -> None:
    # Not listening, since rows cached right after listening began are read again.
    gateway = await start_gateway(url_cache={"local_ttl": 0}, postgres={"listen": False})
    await images.add("mine", BODY, owner="alice", public=False)
    await gateway.get("/i/mine", user="alice")
    codec = gateway.redis.entries.codec
    other = EntryCodec(EntryMac(Live(("another secret", None))), codec.signer)
    for old, new in (("alice", "bob"), ("false", "true"), ("null", "0")):
        for sign in (None, other):
            entry = redis_client.get("image:url:mine")
            assert isinstance(entry, bytes)
            forged = entry.replace(old.encode(), new.encode())
            assert forged != entry
            if sign is not None:
                image = codec.decode(entry, MINE)
                forged = sign.encode(replace(image, record=replace(image.record, owner="bob", public=True)))
            redis_client.set("image:url:mine", forged, ex=60)
            assert (await gateway.get("/i/mine", user="bob")).status == 404, old
            assert (await gateway.get("/i/mine", user="alice")).status == 200, old
            mended = redis_client.get("image:url:mine")
            assert isinstance(mended, bytes)
            assert codec.decode(mended, MINE).record.owner == "alice", old


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
