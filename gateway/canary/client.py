"""The HTTP client that asks fronts as a user does: bounded, without cookies, a new connection for each request."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import aiohttp
import yarl

from gateway.canary.rules import Seen

_MOST_BYTES: Final = 16 * 1024 * 1024  # of a body that is read to its end
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@asynccontextmanager
async def open_front_client(request_id: Callable[[], str], timeout: float = 5.0) -> AsyncIterator["FrontClient"]:
    """Open a client. ``timeout``: seconds for a whole answer. The caller bounds how many it asks for at once.

    request_id: returns the id of a request, by which gateways know the canary.
    """
    async with aiohttp.ClientSession(
        # A new connection each time, so that names, listeners and certificates are tried, too. No limit of connections:
        # the wait for one would count as a front's silence.
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "image-gateway-canary", "Accept": "image/*", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        yield FrontClient(session, request_id, timeout)


@dataclass(frozen=True, slots=True)
class FrontClient:
    """HTTP client of the canary: requests images from fronts (proxies, CDNs) as a user does."""

    session: aiohttp.ClientSession
    request_id: Callable[[], str]
    timeout: float

    async def ask(
        self, url: str, *, headers: Mapping[str, str] = MappingProxyType({}), origin: str | None = None
    ) -> Seen:
        """Return the answer to a GET. One redirect is followed, without ``headers``, to a URL below ``origin``: COS.

        ``url`` may contain the signature of a link, so no part of it is in the answer.
        """
        started = time.monotonic()
        try:
            # The limit of a session does not interrupt a name look-up in a thread.
            async with asyncio.timeout(self.timeout):
                seen, location = await self._get(url, {"X-Request-Id": self.request_id(), **headers}, started)
                if seen.status in _REDIRECTS and origin is not None and location.startswith(f"{origin}/"):
                    seen, _ = await self._get(location, {}, started)
                return seen
        except TimeoutError:
            return Seen(None, f"no answer within {self.timeout:g} s")
        except aiohttp.ClientConnectorCertificateError as error:
            return Seen(None, f"the certificate is refused: {_reason(error.certificate_error)}")
        except aiohttp.ClientConnectorError as error:
            return Seen(None, f"no connection to {error.host}:{error.port}: {_reason(error.os_error)}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Seen(None, f"no whole answer: {type(error).__name__}")

    async def _get(self, url: str, headers: dict[str, str], started: float) -> tuple[Seen, str]:
        """Return the answer, and its ``Location``."""
        async with self.session.get(yarl.URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
            age = response.headers.get("Age", "")
            problem, length = "", 0
            try:
                async for piece in response.content.iter_any():
                    length += len(piece)
                    if length > _MOST_BYTES:
                        break
            except aiohttp.ClientError:
                problem = "the body breaks off"
            seen = Seen(
                response.status,
                problem,
                time.monotonic() - started,
                length if length <= _MOST_BYTES else response.content_length,
                response.headers.get("ETag"),
                response.headers.get("Content-Type"),
                int(age) if age.isascii() and age.isdigit() and len(age) < 10 else None,
            )
            return seen, response.headers.get("Location", "")


def _reason(error: BaseException) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
