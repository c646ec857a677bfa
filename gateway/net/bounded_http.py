"""Small HTTP requests to services beside COS: bounded in time and in bytes, never redirected, through no proxy."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import yarl

from gateway.net.http_fields import seconds_of

_TIMEOUT: Final = 2.0  # seconds for a whole answer
_MOST_BYTES: Final = 64 * 1024
_NO_HEADERS: Final[Mapping[str, str]] = {}


class ServiceUnavailable(Exception):
    """A service did not answer in time, or its answer is not valid. The text contains neither a secret nor a body.

    ``status``: the status of the answer. None if there is no answer, or if the status is not the fault.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True)
class BoundedHttp:
    """HTTP client: a request takes ``timeout`` seconds and returns ``most_bytes`` at most. An async context manager."""

    timeout: float = _TIMEOUT
    most_bytes: int = _MOST_BYTES
    _session: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> "BoundedHttp":
        self._session = aiohttp.ClientSession(
            # Minutes pass between two requests: a connection that is kept is closed by then.
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            headers={"User-Agent": "image-gateway", "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def get(self, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
        """Return the body of a 200. Raises ``ServiceUnavailable`` for any other answer."""
        return (await self._request("GET", url, headers, None, range(200, 201)))[0]

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[bytes, float | None]:
        """Return the body and the Date (Unix seconds) of a 2xx. Raises ``ServiceUnavailable`` for any other answer."""
        return await self._request("POST", url, headers, body, range(200, 300))

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, accepted: range
    ) -> tuple[bytes, float | None]:
        try:
            # An additional limit: the session's does not interrupt a name look-up in a thread.
            async with (
                asyncio.timeout(self.timeout),
                self._session.request(
                    method, yarl.URL(url, encoded=True), headers=headers, data=body, allow_redirects=False
                ) as response,
            ):
                if response.status not in accepted:
                    raise ServiceUnavailable(f"status {response.status}", response.status)
                answer = bytearray()
                async for piece in response.content.iter_any():
                    answer += piece
                    if len(answer) > self.most_bytes:
                        raise ServiceUnavailable(f"more than {self.most_bytes} bytes")
                return bytes(answer), seconds_of(response.headers.get("Date"))
        except TimeoutError:
            raise ServiceUnavailable(f"no answer within {self.timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServiceUnavailable(type(error).__name__) from error
