"""Objects as COS answers them: headers, ranges, conditions, overrides, large ones."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest

from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.content import Digests, SyntheticContent
from gateway.cos_emulator.server import CosEmulator
from gateway.cos_emulator.store import ObjectStore

from .conftest import BUCKET, SECRET_ID, SECRET_KEY, Client, Clock

SAMPLE = b"[Object Content]"
SAMPLE_ETAG = '"ee8de918d05640145b18f70f4c3aa602"'
MODIFIED = 1_586_511_304.0
LAST_MODIFIED = "Fri, 10 Apr 2020 09:35:04 GMT"


@pytest.fixture(autouse=True)
def sample(store: ObjectStore) -> None:
    store.put(BUCKET, "a.jpg", SAMPLE, last_modified=MODIFIED)


async def test_get_answers_as_the_documents_sample(client: Client, clock: Clock) -> None:
    answer = await client.get("a.jpg")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert (answer.status, answer.body) == (200, SAMPLE)
    date = parsedate_to_datetime(headers.pop("date"))
    assert abs(date.timestamp() - clock()) < 5
    assert headers.pop("x-cos-request-id")
    assert headers == {
        "content-type": "image/jpeg",
        "content-length": "16",
        "accept-ranges": "bytes",
        "etag": SAMPLE_ETAG,
        "last-modified": LAST_MODIFIED,
        "server": "tencent-cos",
        "x-cos-hash-crc64ecma": "16749565679157681890",
    }


async def test_head_has_the_same_headers_but_accept_ranges(client: Client) -> None:
    get, head = await client.get("a.jpg"), await client.head("a.jpg")
    varying = {"Date", "x-cos-request-id"}
    assert (head.status, head.body) == (200, b"")
    assert set(get.headers) - set(head.headers) == {"Accept-Ranges"}
    assert all(head.headers[name] == get.headers[name] for name in set(head.headers) - varying)


async def test_date_follows_the_emulators_clock(client: Client, clock: Clock) -> None:
    clock.offset = 1000
    answer = await client.get("a.jpg")
    assert answer.status == 403
    assert answer.headers["Date"] in {formatdate(clock() - ago, usegmt=True) for ago in (0, 1, 2)}


async def test_headers_of_an_object(client: Client, store: ObjectStore) -> None:
    own = {
        "Cache-Control": "max-age=5",
        "Content-Disposition": 'inline; filename="a"',
        "Content-Encoding": "gzip",
        "Expires": LAST_MODIFIED,
        "x-cos-meta-owner": "u1",
        "x-cos-storage-class": "STANDARD_IA",
        "x-cos-version-id": "v1",
    }
    store.put(BUCKET, "a.jpg", SAMPLE, headers=own, etag="abc-2", has_crc=False)
    for answer in (await client.get("a.jpg"), await client.head("a.jpg")):
        assert own.items() <= dict(answer.headers).items()
        assert answer.headers["ETag"] == '"abc-2"'
        assert "x-cos-hash-crc64ecma" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "body", "content_range"),
    [
        ("bytes=0-6", b"[Object", "bytes 0-6/16"),
        ("bytes=8-", b"Content]", "bytes 8-15/16"),
        ("bytes=-1", b"]", "bytes 15-15/16"),
    ],
)
async def test_one_range(client: Client, asked: str, body: bytes, content_range: str) -> None:
    answer = await client.get("a.jpg", headers={"Range": asked, "If-Range": '"other"'})
    assert (answer.status, answer.body) == (206, body)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.headers["x-cos-hash-crc64ecma"] == "16749565679157681890"
    assert answer.headers["ETag"] == SAMPLE_ETAG


async def test_several_ranges_are_the_whole(client: Client) -> None:
    answer = await client.get("a.jpg", headers={"Range": "bytes=0-1,3-4"})
    assert (answer.status, answer.body) == (200, SAMPLE)


async def test_a_range_of_a_head(client: Client) -> None:
    answer = await client.head("a.jpg", headers={"Range": "bytes=0-1"})
    assert (answer.status, answer.headers["Content-Length"], answer.body) == (206, "2", b"")


async def test_not_modified(client: Client) -> None:
    get = await client.get("a.jpg", headers={"If-None-Match": SAMPLE_ETAG})
    assert (get.status, get.body) == (304, b"")
    assert (get.headers["ETag"], get.headers["Content-Type"], get.headers["Content-Length"]) == (
        SAMPLE_ETAG,
        "image/jpeg",
        "0",
    )
    assert "Last-Modified" not in get.headers
    head = await client.head("a.jpg", headers={"If-Modified-Since": LAST_MODIFIED})
    assert head.status == 304
    assert "ETag" not in head.headers


async def test_overrides_need_no_signature_of_their_own(client: Client) -> None:
    signed = client.presign("a.jpg", params={"response-content-type": "image/webp", "response-expires": "never"})
    answer = await client.fetch(f"{signed}&response-content-disposition=attachment&response-cache-control=no-store")
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Expires"] == "never"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: a=1", "a\0"])
async def test_overrides_cannot_add_headers(client: Client, value: str) -> None:
    answer = await client.fetch(client.presign("a.jpg", params={"response-content-type": value}))
    assert (answer.status, b"<Code>InvalidArgument</Code>" in answer.body) == (400, True)
    assert "Set-Cookie" not in answer.headers


async def test_authorization_header(client: Client, cos: CosEmulator) -> None:
    auth = client.sdk().get_auth(Method="GET", Bucket=BUCKET, Key="a.jpg")
    assert (await client.fetch(f"{cos.url}/a.jpg", headers={"Authorization": auth})).body == SAMPLE


async def test_sign_parameter(client: Client, cos: CosEmulator) -> None:
    auth = client.sdk().get_auth(Method="GET", Bucket=BUCKET, Key="a.jpg")
    merged = auth.replace("%", "%25").replace("&", "%26").replace("=", "%3D").replace(";", "%3B")
    assert (await client.fetch(f"{cos.url}/a.jpg?sign={merged}")).body == SAMPLE


async def test_raw_semicolons(client: Client) -> None:
    assert (await client.fetch(client.presign("a.jpg").replace("%3B", ";"))).body == SAMPLE


async def test_force_download(store: ObjectStore, make_client: Callable[[CosEmulator], Client]) -> None:
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    async with CosEmulator(store, credentials, default_bucket=BUCKET, force_download=True) as cos:
        client = make_client(cos)
        answer = await client.fetch(client.presign("a.jpg", params={"response-content-disposition": "inline"}))
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.headers["x-cos-force-download"] == "true"
        assert "x-cos-force-download" not in (await client.head("a.jpg")).headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"{BUCKET}.cos.ap-guangzhou.myqcloud.com", 200),
        (f"{BUCKET.upper()}.cos.accelerate.myqcloud.com:80", 200),
        (f"{BUCKET}.localhost", 200),
        ("img.example.com", 200),
        ("localhost", 200),
        (BUCKET, 200),
        ("other-125.cos.ap-guangzhou.myqcloud.com", 404),
        ("other-125.cos-internal.ap-guangzhou.tencentcos.cn", 404),
    ],
)
async def test_hosts_name_buckets(client: Client, host: str, status: int) -> None:
    answer = await client.fetch(client.presign("a.jpg", sign_host=False), headers={"Host": host})
    assert answer.status == status


async def test_without_a_default_bucket_an_address_names_none(
    store: ObjectStore, make_client: Callable[[CosEmulator], Client]
) -> None:
    async with CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}) as cos:
        assert (await make_client(cos).get("a.jpg")).status == 404


async def test_large_objects_are_streamed(client: Client, store: ObjectStore, tmp_path: Path) -> None:
    content = SyntheticContent(3_000_001)
    data = content.read(0, content.size)
    (tmp_path / "a.png").write_bytes(data)
    store.put(BUCKET, "synthetic.png", content)
    await asyncio.to_thread(store.put, BUCKET, "file.png", tmp_path / "a.png")
    for key in ("synthetic.png", "file.png"):
        whole = await client.get(key)
        assert whole.body == data
        assert whole.headers["x-cos-hash-crc64ecma"] == str(Digests.of([data]).crc64)
        part = await client.get(key, headers={"Range": "bytes=1000000-2500000"})
        assert part.body == data[1_000_000:2_500_001]


async def test_an_empty_object(client: Client, store: ObjectStore) -> None:
    store.put(BUCKET, "empty.png", b"")
    answer = await client.get("empty.png")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    assert answer.headers["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"'
