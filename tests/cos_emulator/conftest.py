"""An emulator on a socket, and a client whose URLs the COS SDK signs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol
from xml.etree import ElementTree as ET

import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout
from multidict import CIMultiDictProxy
from qcloud_cos import CosConfig, CosS3Client
from yarl import URL

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.content import Content, SyntheticContent
from gateway_dev.cos_emulator.faults import Action, Fault
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

BUCKET = "images-1250000000"
SECRET_ID = "AKIDEXAMPLE"
SECRET_KEY = "SKEXAMPLE"
KEY = "a/b.png"
DATA = SyntheticContent(100_000).read(0, 100_000)


@dataclass
class Clock:
    """The emulator's clock: real time and a settable offset, as URLs are signed in real time."""

    offset: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass
class Answer:
    """A complete answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass
class Client:
    """Client that sends exact URLs, follows no redirects and decompresses nothing."""

    session: ClientSession
    cos: CosEmulator
    secrets: dict[str, str] = field(default_factory=lambda: {"SecretId": SECRET_ID, "SecretKey": SECRET_KEY})

    def sdk(self) -> CosS3Client:
        config = CosConfig(Region="ap-guangzhou", Scheme="http", Domain=f"127.0.0.1:{self.cos.port}", **self.secrets)
        return CosS3Client(config)

    def presign(
        self,
        key: str,
        *,
        method: str = "GET",
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        expires: int = 300,
        sign_host: bool = True,
    ) -> str:
        url: str = self.sdk().get_presigned_url(
            Bucket=BUCKET,
            Key=key,
            Method=method,
            Expired=expires,
            Params=params or {},
            Headers=headers or {},
            SignHost=sign_host,
        )
        return url

    async def open(self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> ClientResponse:
        return await self.session.request(method, URL(url, encoded=True), headers=headers, allow_redirects=False)

    async def fetch(self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        async with await self.open(url, method=method, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, key: str, *, headers: dict[str, str] | None = None) -> Answer:
        return await self.fetch(self.presign(key), headers=headers)

    async def head(self, key: str, *, headers: dict[str, str] | None = None) -> Answer:
        return await self.fetch(self.presign(key, method="HEAD"), method="HEAD", headers=headers)


async def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    """Return bytes [start, stop) of a content, ``stop`` None meaning its end; check that no piece exceeds 64 KiB."""
    pieces = [piece async for piece in content.pieces(start, content.size if stop is None else stop)]
    assert all(0 < len(piece) <= 65536 for piece in pieces)
    return b"".join(pieces)


def error_of(answer: Answer) -> dict[str, str]:
    """Return the nodes of an error's body, after checks of what every error has."""
    assert answer.headers["Content-Type"] == "application/xml"
    nodes = {node.tag: node.text or "" for node in ET.fromstring(answer.body)}  # noqa: S314  -- our own XML
    assert nodes["RequestId"] == answer.headers["x-cos-request-id"]
    assert nodes["TraceId"] == answer.headers["x-cos-trace-id"]
    return nodes


def add(cos: CosEmulator, action: Action) -> None:
    """Alter the next answer."""
    cos.faults.add(Fault(action=action))


class RawExchange(Protocol):
    """Send a request; return all bytes until the server closes."""

    def __call__(self, target: str, *, method: str = "GET", host: str = ...) -> Awaitable[bytes]: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> ObjectStore:
    store = ObjectStore()
    store.create_bucket(BUCKET)
    return store


@pytest.fixture
def objects(store: ObjectStore) -> None:
    """A small object, and one that is archived."""
    store.put(BUCKET, "a b.png", b"data")
    store.put(BUCKET, "archived.png", b"data", archived=True)


@pytest.fixture
def large_object(store: ObjectStore) -> None:
    """``DATA``, with metadata of its own."""
    store.put(BUCKET, KEY, DATA, headers={"x-cos-meta-a": "1"})


@pytest.fixture
async def cos(store: ObjectStore, clock: Clock) -> AsyncIterator[CosEmulator]:
    emulator = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, default_bucket=BUCKET, now=clock)
    async with emulator as cos:
        yield cos


@pytest.fixture
async def make_client() -> AsyncIterator[Callable[[CosEmulator], Client]]:
    async with ClientSession(auto_decompress=False, timeout=ClientTimeout(total=20)) as session:
        yield lambda cos: Client(session, cos)


@pytest.fixture
def client(cos: CosEmulator, make_client: Callable[[CosEmulator], Client]) -> Client:
    return make_client(cos)


@pytest.fixture
def exchange(cos: CosEmulator) -> RawExchange:
    async def exchange(target: str, *, method: str = "GET", host: str = "127.0.0.1") -> bytes:
        reader, writer = await asyncio.open_connection(cos.host, cos.port)
        request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("utf-8", "surrogateescape"))
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    return exchange
