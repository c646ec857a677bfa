"""Every byte at every place of an address, through each shipped file with a cache: no answer is stored as another's.

nginx asks the gateway for each request and stores each answer (``proxy_cache_bypass``), so no entry hides what a later
request would store under the same key. nginx logs the key and the ETag of what it stores.
"""

import asyncio
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.nginx.conftest import Nginx, StartNginx, in_front_of
from tests.raw_client import exchange, statuses
from tests.waiting import until

BYPASSED = {"proxy_cache_key ": "proxy_cache_bypass 1; proxy_cache_key "}
_CONNECTIONS = 40  # a denial takes 25 ms, and the requests of a connection are answered in turn
# All control and punctuation characters; of letters, digits and bytes beyond ASCII, which are alike, some of each kind.
_INSERTED = bytes(byte for byte in range(128) if not chr(byte).isalnum()) + b"01aefgiksxAFK\x80\xa0\xbf\xc3\xe2\xf0\xff"


@dataclass(frozen=True)
class Cached:
    """A file with a cache: its key, and an address with all that the file looks for in an address."""

    key: str
    address: bytes
    delivery: str = "stream"

    @property
    def settings(self) -> dict[str, Any]:
        """Of the gateway behind it."""
        return {
            "image_proxy": {"delivery": self.delivery},
            "image_styles": {"s": {"widths": [10], "formats": ["webp", "avif"]}},
            "image_variants": {"negotiate": "accept"},
        }

    def targets(self) -> Iterator[bytes]:
        """Yield the address with each of ``_INSERTED`` at each place."""
        for at in range(1, len(self.address) + 1):
            for byte in _INSERTED:
                yield self.address[:at] + bytes([byte]) + self.address[at:]


FILES = {
    "gateway.conf": Cached("$request_uri$image_formats", b"/i/a?style=s&format=auto"),
    "private-cache.conf": Cached("$image_key", b"/i/a?kid=1&exp=1&sig=1&style=s"),
    "accel.conf": Cached("$uri", b"/i/a?kid=1", "accel"),
}


@pytest.mark.parametrize("file", FILES)
async def test_no_answer_is_stored_under_the_key_of_another_address(
    start_nginx: StartNginx,
    start_gateway: StartGateway,
    images: Images,
    cos: CosEmulator,
    caplog: pytest.LogCaptureFixture,
    file: str,
) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")  # one line for each address that is not HTTP
    cached = FILES[file]
    await add_images(images)
    gateway = await start_gateway(**cached.settings)
    http = in_front_of(gateway.address, file, cos.port)
    nginx = await start_nginx(logging_keys(http, cached.key), BYPASSED)
    stored = await stored_by(nginx, cached)
    if cached.delivery == "stream":
        await expect_own_answers(gateway, stored)
    else:
        assert [len(etags) for etags in stored.values()] == [1, 1, 1], "one of each image"


async def add_images(images: Images) -> None:
    """Add images whose ids differ by one character."""
    for width, image_id in enumerate(("a", "aa", "a1"), 40):
        await images.add(image_id, gradient(width, 20))


def logging_keys(http: str, key: str) -> str:
    """Return the configuration with a log of the key, the state of the cache, and the ETag, of each answer."""
    log_format = f"""log_format stored escape=json '["{key}", "$upstream_cache_status", "$sent_http_etag"]';\n"""
    return log_format + re.sub(r"(access_log \S+) \w+;", r"\1 stored;", http)


async def stored_by(nginx: Nginx, cached: Cached) -> dict[bytes, set[bytes]]:
    """Return the ETags that nginx stores under each key, when each of the addresses is requested."""
    before = (nginx.folder / "log" / "access.log").read_bytes().count(b"\n")
    targets = list(cached.targets())
    await asyncio.gather(*(_send(nginx.url, targets[first::_CONNECTIONS]) for first in range(_CONNECTIONS)))
    return await _stored(nginx, before + len(targets))


async def expect_own_answers(gateway: RunningGateway, stored: dict[bytes, set[bytes]]) -> None:
    """Expect that each key has what the gateway answers to it: the key is an address, and what else decides."""
    assert len(stored) > 100
    own = await _own_etags(gateway.ports.public, stored)
    assert [key for key, etag in zip(stored, own, strict=True) if stored[key] != {etag}] == []


async def _send(url: str, targets: Iterable[bytes]) -> None:
    """Send requests for these addresses in turn."""
    in_line = []
    for target in targets:
        if any(byte <= 0x20 or byte in b"%\x7f" for byte in target):  # nginx may close the connection, or read HTTP/0.9
            await exchange(url, _request(target, b"close"))
        else:
            in_line.append(target)
    *others, last = in_line
    sent = b"".join(_request(target, b"keep-alive") for target in others) + _request(last, b"close")
    assert len(statuses(await exchange(url, sent))) == len(in_line)


async def _stored(nginx: Nginx, requests: int) -> dict[bytes, set[bytes]]:
    """Return the ETags that nginx stored under each key, once so many requests are logged."""
    log = nginx.folder / "log" / "access.log"
    await until(lambda: log.read_bytes().count(b"\n") >= requests, what="a line for each request")
    stored = defaultdict(set)
    for line in log.read_bytes().splitlines():
        key, status, etag = (field.encode("latin-1") for field in json.loads(line.decode("latin-1")))
        if status and etag:
            stored[key].add(etag)
    return stored


async def _own_etags(url: str, keys: Iterable[bytes]) -> list[bytes]:
    """Return the ETag with which the gateway at ``url`` answers each key: an address, and what else decides."""
    heads = []
    for key in keys:
        address, _, formats = key.partition(b", ")
        heads.append(b"HEAD %b HTTP/1.1\r\nHost: a\r\nAccept: %b\r\n\r\n" % (address, formats))
    received = await exchange(url, b"".join(heads) + _request(b"/healthz", b"close"))
    return [_etag(head) for head in received.split(b"\r\n\r\n")[: len(heads)]]


def _etag(head: bytes) -> bytes:
    found = re.search(rb"^ETag: (.+?)\r?$", head, re.MULTILINE)
    return found[1] if found is not None else b"none"


def _request(target: bytes, connection: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: %b\r\n\r\n" % (target, connection)
