"""The one client session to COS: opens objects, tries again before the first byte, translates what goes wrong."""

import asyncio
import logging
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import yarl

from gateway.errors import ImageNotFound, OriginThrottled, OriginTimeout, OriginUnavailable, RangeNotSatisfiable
from gateway.metrics import Metrics
from gateway.origin.errors import PresignedUrlRefused
from gateway.origin.response import OriginResponse
from gateway.settings import ImageProxySettings

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 5.0
_BACKOFF_BASE = 0.05
_BACKOFF_CAP = 1.0
_ERROR_BODY = 4096
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,19})")


class _TryAgain(Exception):
    """This attempt failed in a way that another may not; carries the outcome if none is left."""

    def __init__(self, outcome: OriginUnavailable | OriginThrottled) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class OriginClient:
    """Opens objects by presigned URL over persistent connections.

    Retries (connection lost, 5xx, 503 SlowDown) happen before the first byte only, with exponential backoff and full
    jitter, all within ``timeout`` seconds; after that a body may pause for at most ``timeout`` seconds.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float,
        retry_count: int,
        metrics: Metrics,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._timeout = timeout
        self._retry_count = retry_count
        self._metrics = metrics
        self._random = random

    @asynccontextmanager
    async def open(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[OriginResponse]:
        """An answer with status 200, 206 or 304; its connection goes back to the pool, or is closed, at the end.

        ``url`` is sent as it is, byte for byte. Raises ``PresignedUrlRefused`` on 403, ``ImageNotFound``,
        ``RangeNotSatisfiable``, ``OriginThrottled``, ``OriginUnavailable`` or ``OriginTimeout``.
        """
        response = await self._first_answer(yarl.URL(url, encoded=True), method, headers or {})
        try:
            yield OriginResponse(response, method=method)
        finally:
            # A body that was not read to its end makes this close the connection: the transfer stops.
            response.release()

    async def probe(self, url: str) -> None:
        """Return when something answers HTTP at ``url``, whatever it says; raises ``OriginUnavailable`` otherwise."""
        try:
            async with self._session.head(yarl.URL(url, encoded=True), allow_redirects=False):
                return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OriginUnavailable(type(error).__name__) from error

    async def diagnose(self, url: str) -> tuple[int, str | None]:
        """COS's status for the first byte at ``url``, and the code in its error body if there is one.

        Raises ``OriginUnavailable`` when nothing answers.
        """
        try:
            async with self._session.get(
                yarl.URL(url, encoded=True), headers={"Range": "bytes=0-0"}, allow_redirects=False
            ) as response:
                body = await response.content.read(_ERROR_BODY)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
        code = _ERROR_CODE.search(body)
        return response.status, code[1].decode() if code is not None else None

    async def _first_answer(self, url: yarl.URL, method: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(self._retry_count + 1):
                    try:
                        return await self._attempt(url, method, headers)
                    except _TryAgain as failure:
                        if attempt == self._retry_count:
                            raise failure.outcome from failure
                        self._metrics.origin_retries.inc()
                        await asyncio.sleep(self._random() * min(_BACKOFF_CAP, _BACKOFF_BASE * 2**attempt))
        except TimeoutError as error:
            self._metrics.origin_requests.labels(status="timeout").inc()
            raise OriginTimeout(f"no answer within {self._timeout:g} s") from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, url: yarl.URL, method: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            response = await self._session.request(method, url, headers=headers, allow_redirects=False)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            self._metrics.origin_requests.labels(status="error").inc()
            raise _TryAgain(OriginUnavailable(type(error).__name__)) from error
        status = response.status
        self._metrics.origin_requests.labels(status=str(status)).inc()
        if status in (200, 206, 304):
            return response
        response.release()
        match status:
            case 403:
                raise PresignedUrlRefused
            case 404:
                raise ImageNotFound("COS has no such object")
            case 416:
                raise RangeNotSatisfiable(_size_of(response.headers.get("Content-Range")))
            case 503:
                raise _TryAgain(OriginThrottled("COS answered 503"))
            case _ if status >= 500:
                raise _TryAgain(OriginUnavailable(f"COS answered {status}"))
            case _:
                raise OriginUnavailable(f"COS answered {status}")


def _size_of(content_range: str | None) -> int | None:
    """The size in ``bytes */size``; None when it is not told."""
    size = _UNSATISFIED_RANGE.fullmatch(content_range or "")
    return int(size[1]) if size is not None else None


@asynccontextmanager
async def open_origin(
    settings: ImageProxySettings, *, max_connections: int, metrics: Metrics
) -> AsyncIterator[OriginClient]:
    """The client on a session of its own, with as many connections as there may be streams."""
    connector = aiohttp.TCPConnector(limit=max_connections, keepalive_timeout=30, enable_cleanup_closed=False)
    async with aiohttp.ClientSession(
        connector=connector,
        # Lengths must be those of the bytes that are passed on, so nothing is asked for or undone in compressed form.
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "image-gateway"},
        skip_auto_headers=("Accept",),
        cookie_jar=aiohttp.DummyCookieJar(),
        # No limit in all: a large image on a slow line is no error. Each phase has its own.
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=min(_CONNECT_TIMEOUT, settings.timeout), sock_read=settings.timeout
        ),
        raise_for_status=False,
        trust_env=False,
    ) as session:
        yield OriginClient(session, timeout=settings.timeout, retry_count=settings.retry_count, metrics=metrics)
