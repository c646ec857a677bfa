"""Single requests to COS for ``check --deep``: every detail of the answer, without retries and redirects."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp import hdrs
from fastcrc import crc64

from gateway.errors import OriginUnavailable
from gateway.origin.cos_errors import REQUEST_ID, CosError, parse_error
from gateway.origin.origin_response import ObjectMetadata, checksum_in, is_chunked, metadata_in

_MOST_BYTES = 64 * 1024 * 1024  # of a body
_READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """COS's answer to a probe of ``check --deep``, read to its end."""

    error: CosError
    metadata: ObjectMetadata
    received: int  # bytes
    checksum: int  # CRC-64 of the bytes
    headers: Mapping[str, str]
    is_reused: bool  # the request went over a connection that an earlier request had left open

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def said(self) -> str:
        return self.error.said

    @property
    def crc64(self) -> int | None:
        """The CRC-64 that COS announced. None without one."""
        return checksum_in(self.headers)

    @property
    def is_chunked(self) -> bool:
        return is_chunked(self.headers)

    @property
    def is_image(self) -> bool:
        return (self.metadata.content_type or "").startswith("image/")

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes came as were announced, or the body was chunked."""
        return self.received == self.metadata.size or (self.is_chunked and self.metadata.size is None)


Sleep = Callable[[float], Awaitable[None]]


class DeepSession:
    """Sends the requests of ``check --deep`` to COS, one at a time. Raises ``OriginUnavailable`` without an answer."""

    def __init__(self, session: aiohttp.ClientSession, sleep: Sleep) -> None:
        self._session = session
        self.sleep = sleep
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(self._note_reuse)
        trace.freeze()
        session.trace_configs.append(trace)

    async def send(
        self, url: str, method: str = "GET", headers: Mapping[str, str] | None = None, *, pause: float = 0.0
    ) -> Reply:
        """Return the answer. ``pause`` seconds pass between its header and the rest of its body."""
        self._is_reused = False
        as_signed = yarl.URL(url, encoded=True)
        try:
            async with self._session.request(method, as_signed, headers=headers, allow_redirects=False) as response:
                body, received, checksum = b"", 0, 0
                if pause:
                    await self.sleep(pause)
                async for piece in response.content.iter_chunked(_READ):
                    received += len(piece)
                    checksum = crc64.xz(piece, checksum)
                    body = body or piece
                    if received > _MOST_BYTES:
                        raise OriginUnavailable(f"the object has more than {_MOST_BYTES} bytes: choose a smaller one")
                status, fields = response.status, response.headers
                body = body if status >= 300 else b""
                error = parse_error(status, fields.get(hdrs.DATE), body, fields.get(REQUEST_ID))
                return Reply(error, metadata_in(status, fields), received, checksum, fields, self._is_reused)
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError, too
            raise OriginUnavailable(type(error).__name__) from error

    async def _note_reuse(self, *_: object) -> None:
        self._is_reused = True


@asynccontextmanager
async def open_deep_session(timeout: float, sleep: Sleep = asyncio.sleep) -> AsyncIterator[DeepSession]:
    """Open a session. ``timeout`` seconds bound a connection and each wait for bytes."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(keepalive_timeout=300),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "image-gateway"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=timeout, sock_read=timeout),
        trust_env=False,
    ) as session:
        yield DeepSession(session, sleep)


async def reach(base: str, timeout: float) -> Sequence[str]:
    """Return the addresses of the host of ``base``, whose certificate is valid. Raises ``OriginUnavailable``."""
    parts = urlsplit(base)
    host, is_encrypted = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_encrypted else 80)
    try:
        async with asyncio.timeout(timeout):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
            if is_encrypted:
                _, writer = await asyncio.open_connection(host, port, ssl=ssl.create_default_context())
                writer.close()
    except TimeoutError as error:
        raise OriginUnavailable(f"no answer within {timeout:g} s") from error
    except OSError as error:  # name look-up and TLS, too
        raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
    return list(dict.fromkeys(str(address[4][0]) for address in found))
