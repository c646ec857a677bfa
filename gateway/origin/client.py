"""The one client session to COS: opens objects, tries again before the first byte, translates what goes wrong."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver

from gateway.breaker import Breaker
from gateway.errors import (
    ImageBlocked,
    ImageNotFound,
    OriginPaused,
    OriginThrottled,
    OriginTimeout,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.metrics import Metrics
from gateway.origin.breakers import Breakers
from gateway.origin.errors import PresignedUrlRefused, VersionChanged
from gateway.origin.http_date import seconds_of
from gateway.origin.response import READ_AHEAD, OriginResponse
from gateway.origin.retry import Backoff, RetryBudget, retry_after
from gateway.patience import Patience
from gateway.settings import ImageProxySettings

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 5.0
_LONGEST_WAIT = 2.0  # COS asking for more is told to the client instead
_BREAKER_FAILURES = 10
# How many requests to COS may be under way that no client waits for.
MOST_UNATTENDED = 32
_PROBES = 4
_ERROR_BODY = 4096
_ERROR_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")
_UNSATISFIED_RANGE = re.compile(r"bytes \*/([0-9]{1,19})")
_WANTED = frozenset({200, 206, 304})
# Answers to requests that carry one of these fields (RFC 9110 sections 13.1 and 14.2); to others they are none.
_ASKED_FOR_BY: Mapping[int, frozenset[str]] = {
    206: frozenset({"Range"}),
    304: frozenset({"If-None-Match", "If-Modified-Since"}),
    412: frozenset({"If-Match"}),
    416: frozenset({"Range"}),
}
_NO_HEADERS: Mapping[str, str] = {}


class _Failure(NamedTuple):
    """An attempt failed in a way that another may not: what it comes to if there is none, and COS's wish in seconds."""

    outcome: OriginUnavailable | OriginThrottled | OriginTimeout
    wait: float = 0.0


class OriginClient:
    """Opens objects by presigned URL over persistent connections.

    Retries (connection lost or refused, 5xx, 503 SlowDown) happen before the first byte only, with exponential backoff
    and full jitter or after the pause that COS asks for, within a budget; the first byte must come within ``timeout``
    seconds of the first attempt. After that a body may pause for as long. A bucket that fails ten times in a row is
    left alone but for one try a second.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float,
        retry_count: int,
        metrics: Metrics,
        budget: RetryBudget | None = None,
        backoff: Backoff | None = None,
        breakers: Breakers | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._session = session
        self._timeout = timeout
        self._patience = Patience(timeout)
        self._retry_count = retry_count
        self._metrics = metrics
        self._budget = budget or RetryBudget()
        self._backoff = backoff or Backoff()
        self._breakers = breakers or Breakers(lambda: Breaker(failures=_BREAKER_FAILURES))

    async def fetch(
        self, url: str, bucket: str = "", method: str = "GET", headers: Mapping[str, str] = _NO_HEADERS
    ) -> OriginResponse:
        """An answer with status 200, 206 or 304, which the caller closes.

        ``url`` is sent as it is, byte for byte; ``bucket`` says whose breaker counts. Raises ``PresignedUrlRefused``
        on 403, ``VersionChanged`` on 412, ``ImageNotFound``, ``ImageBlocked``, ``RangeNotSatisfiable``,
        ``OriginPaused``, ``OriginThrottled``, ``OriginUnavailable`` or ``OriginTimeout``.
        """
        breaker = self._breakers.of(bucket)
        if not breaker.allows_call():
            raise OriginPaused("the bucket's breaker is open")
        self._budget.earn()
        target = yarl.URL(url, encoded=True)
        deadline = self._monotonic() + self._timeout
        attempt, patience = 0, self._patience
        while True:
            try:
                with patience.bounded():
                    response = await self._session.request(method, target, headers=headers, allow_redirects=False)
            except (aiohttp.ClientError, OSError) as error:
                failure = self._failed(error, breaker)
            else:
                is_wanted = self._is_wanted(response.status, breaker)
                asked_for_by = _ASKED_FOR_BY.get(response.status)
                if asked_for_by is not None and asked_for_by.isdisjoint(headers):
                    response.close()
                    raise OriginUnavailable(f"COS answered {response.status} to what was not asked")
                if is_wanted:
                    return OriginResponse(response, self._patience, method)
                response.release()
                failure = _failure_of(response.status, response.headers)
            pause = max(failure.wait, self._backoff.pause(attempt))
            if not self._may_try_again(attempt, pause, breaker, deadline):
                try:
                    raise failure.outcome
                finally:  # or each would lead to the other, a circle that only the collector undoes
                    del failure
            self._metrics.origin_retries.inc()
            await asyncio.sleep(pause)
            left = deadline - self._monotonic()
            if left <= 0:  # the loop was late
                try:
                    raise failure.outcome
                finally:
                    del failure
            attempt, patience = attempt + 1, Patience(left)

    @asynccontextmanager
    async def open(
        self, url: str, *, bucket: str = "", method: str = "GET", headers: Mapping[str, str] = _NO_HEADERS
    ) -> AsyncIterator[OriginResponse]:
        """As ``fetch``; the answer is closed at the end."""
        response = await self.fetch(url, bucket=bucket, method=method, headers=headers)
        try:
            yield response
        finally:
            response.close()

    async def probe(self, url: str) -> None:
        """Return when something answers HTTP at ``url``, whatever it says; raises ``OriginUnavailable`` otherwise."""
        try:
            with self._patience.bounded():
                async with self._session.head(yarl.URL(url, encoded=True), allow_redirects=False):
                    return
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(type(error).__name__) from error

    async def diagnose(self, url: str) -> tuple[int, str | None]:
        """COS's status for the first byte at ``url``, and the code in its error body if there is one.

        Raises ``OriginUnavailable`` when nothing answers.
        """
        try:
            with self._patience.bounded():
                async with self._session.get(
                    yarl.URL(url, encoded=True), headers={"Range": "bytes=0-0"}, allow_redirects=False
                ) as response:
                    body = await response.content.read(_ERROR_BODY)
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
        code = _ERROR_CODE.search(body)
        return response.status, code[1].decode() if code is not None else None

    def _may_try_again(self, attempt: int, pause: float, breaker: Breaker, deadline: float) -> bool:
        return (
            attempt < self._retry_count
            and pause <= _LONGEST_WAIT
            and self._monotonic() + pause < deadline
            and not breaker.is_open
            and self._budget.spend()
        )

    def _failed(self, error: Exception, breaker: Breaker) -> _Failure:
        """No answer came; raises ``OriginTimeout`` where one was waited for as long as may be."""
        is_timeout = isinstance(error, TimeoutError)
        self._count("timeout" if is_timeout else "error")
        breaker.failed()
        if not is_timeout:
            outcome: OriginUnavailable | OriginTimeout = OriginUnavailable(type(error).__name__)
        elif isinstance(error, aiohttp.ConnectionTimeoutError):  # nothing was sent yet
            outcome = OriginTimeout("no connection in time")
        else:
            raise OriginTimeout(f"no answer within {self._timeout:g} s") from error
        outcome.__cause__ = error.with_traceback(None)
        return _Failure(outcome)

    def _is_wanted(self, status: int, breaker: Breaker) -> bool:
        """Whether an answer carries an object, or word of it; every answer is counted."""
        self._count(str(status))
        if status >= 500:
            breaker.failed()
            return False
        breaker.succeeded()
        return status in _WANTED

    def _count(self, status: str) -> None:
        self._metrics.origin_requests.add((status,))


def _failure_of(status: int, headers: Mapping[str, str]) -> _Failure:
    """What an answer without an object comes to; raises it where another attempt would get the same."""
    match status:
        case 403:
            raise PresignedUrlRefused(seconds_of(headers.get(hdrs.DATE)))
        case 404:
            raise ImageNotFound("COS has no such object")
        case 412:
            raise VersionChanged
        case 416:
            raise RangeNotSatisfiable(_size_of(headers.get("Content-Range")))
        case 451:
            raise ImageBlocked("COS may not give the object out")
        case 503:
            wait = retry_after(headers.get("Retry-After"))
            return _Failure(OriginThrottled("COS answered 503", wait=wait), wait or 0.0)
        case _ if status >= 500:
            return _Failure(OriginUnavailable(f"COS answered {status}"))
        case _:
            raise OriginUnavailable(f"COS answered {status}")


def _size_of(content_range: str | None) -> int | None:
    """The size in ``bytes */size``; None when it is not told."""
    size = _UNSATISFIED_RANGE.fullmatch(content_range or "")
    return int(size[1]) if size is not None else None


@asynccontextmanager
async def open_origin(
    settings: ImageProxySettings, *, max_connections: int, metrics: Metrics, resolver: AbstractResolver | None = None
) -> AsyncIterator[OriginClient]:
    """The client on a session of its own; ``max_connections`` are for those who wait for an answer.

    ``resolver`` looks names up; None is the system's.
    """
    # So many that nobody waits for a place: that would pass for a failure of COS, and open its breaker.
    most = max_connections + MOST_UNATTENDED + _PROBES
    connector = aiohttp.TCPConnector(limit=most, keepalive_timeout=30, resolver=resolver)
    async with aiohttp.ClientSession(
        connector=connector,
        # Lengths must be those of the bytes that are passed on, so nothing is asked for or undone in compressed form.
        auto_decompress=False,
        # To have aiohttp leave out what it sends by itself would cost a tenth of a request; its Accept says */*, too.
        headers={"Accept-Encoding": "identity", "User-Agent": "image-gateway"},
        cookie_jar=aiohttp.DummyCookieJar(),
        # No limit in all: a large image on a slow line is no error. Waiting for an answer and for its next bytes is
        # bounded by the client; ``connect`` is of a new connection: the name looked up, a place, the handshakes.
        timeout=aiohttp.ClientTimeout(
            total=None, connect=settings.timeout, sock_connect=min(_CONNECT_TIMEOUT, settings.timeout)
        ),
        read_bufsize=READ_AHEAD,
        raise_for_status=False,
        trust_env=False,
    ) as session:
        yield OriginClient(session, timeout=settings.timeout, retry_count=settings.retry_count, metrics=metrics)
