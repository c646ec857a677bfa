"""Request handling: buckets by host, keys by path, unreadable files, the log."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, SECRET_ID, SECRET_KEY, Client, RawExchange

SAMPLE = b"[Object Content]"


MODIFIED = 1_586_511_304.0


@pytest.fixture(autouse=True)
def sample(store: ObjectStore) -> None:
    store.put(BUCKET, "a.jpg", SAMPLE, last_modified=MODIFIED)


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
async def test_the_host_names_the_bucket(client: Client, host: str, status: int) -> None:
    answer = await client.fetch(client.presign("a.jpg", sign_host=False), headers={"Host": host})
    assert answer.status == status


async def test_an_ip_address_without_a_default_bucket_is_404(
    store: ObjectStore, make_client: Callable[[CosEmulator], Client]
) -> None:
    async with CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}) as cos:
        assert (await make_client(cos).get("a.jpg")).status == 404


async def test_paths_that_denote_the_bucket_are_never_listed(client: Client, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "k", b"data")
    for key in ("/../", "//", "/./", "a/..", "a/b/../../", "../../.."):
        answer = await client.get(key)
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.body) == (403, True), key


async def test_request_targets_are_not_normalised(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    """Proxies and browsers resolve ``/../``; COS verifies the target as received."""
    cos.store.put(BUCKET, "a/../b", b"object a/../b")
    cos.store.put(BUCKET, "b", b"object b")
    target = client.presign("a/../b").removeprefix(cos.url)
    assert target.startswith("/a/..%2Fb?")  # the SDK protects the key from clients that normalise
    target = target.replace("/a/..%2Fb?", "/a/../b?")
    assert (await exchange(target)).endswith(b"object a/../b")
    assert b"SignatureDoesNotMatch" in await exchange(target.replace("/a/../b?", "/b?"))
    assert (await exchange(cos.url + target)).endswith(b"object a/../b")


async def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    client: Client, cos: CosEmulator, store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 60_000_000)
    await asyncio.to_thread(store.put, BUCKET, "a.png", path)
    async with await client.open(client.presign("a.png")) as response:
        await response.content.readexactly(1000)
        path.write_bytes(b"")
        with pytest.raises(ClientPayloadError):
            await response.read()
    await cos.request_log.settled()
    assert not cos.request_log.requests[0].client_left
    assert "'a.png' could not be read to its end" in caplog.text
