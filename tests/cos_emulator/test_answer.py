"""Answers for objects: headers, ranges, conditions, overrides."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, SECRET_ID, SECRET_KEY, Client, Clock

SAMPLE = b"[Object Content]"


SAMPLE_ETAG = '"ee8de918d05640145b18f70f4c3aa602"'


MODIFIED = 1_586_511_304.0


LAST_MODIFIED = "Fri, 10 Apr 2020 09:35:04 GMT"


@pytest.fixture(autouse=True)
def sample(store: ObjectStore) -> None:
    store.put(BUCKET, "a.jpg", SAMPLE, last_modified=MODIFIED)


async def test_get_has_the_headers_of_the_documented_sample(client: Client, clock: Clock) -> None:
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


async def test_head_has_the_headers_of_get_without_accept_ranges(client: Client) -> None:
    get, head = await client.get("a.jpg"), await client.head("a.jpg")
    varying = {"Date", "x-cos-request-id"}
    assert (head.status, head.body) == (200, b"")
    assert set(get.headers) - set(head.headers) == {"Accept-Ranges"}
    assert all(head.headers[name] == get.headers[name] for name in set(head.headers) - varying)


async def test_an_objects_own_headers_are_sent(client: Client, store: ObjectStore) -> None:
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


async def test_304_has_the_headers_of_the_documented_samples(client: Client) -> None:
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


async def test_response_overrides_need_no_signature(client: Client) -> None:
    signed = client.presign("a.jpg", params={"response-content-type": "image/webp", "response-expires": "never"})
    answer = await client.fetch(f"{signed}&response-content-disposition=attachment&response-cache-control=no-store")
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Expires"] == "never"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: a=1", "a\0"])
async def test_response_overrides_cannot_inject_headers(client: Client, value: str) -> None:
    answer = await client.fetch(client.presign("a.jpg", params={"response-content-type": value}))
    assert (answer.status, b"<Code>InvalidArgument</Code>" in answer.body) == (400, True)
    assert "Set-Cookie" not in answer.headers


async def test_force_download_outranks_the_override(
    store: ObjectStore, make_client: Callable[[CosEmulator], Client]
) -> None:
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    async with CosEmulator(store, credentials, default_bucket=BUCKET, force_download=True) as cos:
        client = make_client(cos)
        answer = await client.fetch(client.presign("a.jpg", params={"response-content-disposition": "inline"}))
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.headers["x-cos-force-download"] == "true"
        assert "x-cos-force-download" not in (await client.head("a.jpg")).headers
