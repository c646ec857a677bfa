"""The one client session to COS: opens objects, tries again before the first byte, translates what goes wrong."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver

from gateway.concurrency.shared_timeout import SharedTimeout
from gateway.errors import OriginPaused, OriginTimeout, OriginUnavailable
from gateway.metrics.collectors import Metrics
from gateway.origin.circuit_breakers import BucketBreaker, CircuitBreakers
from gateway.origin.cos_error import CosError, read_error
from gateway.origin.error_counts import NO_ANSWER, NO_CODE, TIMEOUT, OriginErrorCounts
from gateway.origin.http_date import seconds_of
from gateway.origin.origin_response import OriginResponse
from gateway.origin.outcome import Failure, failure_of
from gateway.origin.retry import Backoff, RetryBudget
from gateway.origin.session import ConnectionLost, NothingSent, origin_session
from gateway.settings import ImageProxySettings

_LONGEST_WAIT = 2.0  # COS asking for more is told to the client instead
# How many requests to COS may be under way that no client waits for.
MOST_UNATTENDED = 32
_PROBES = 4
_ERROR_BODY_TIMEOUT = 1.0  # seconds for a body that only explains an error
_WANTED = frozenset({200, 206, 304})
# Answers to requests that carry one of these fields (RFC 9110 sections 13.1 and 14.2); to others they are none.
_ASKED_FOR_BY: Mapping[int, frozenset[str]] = {
    206: frozenset({"Range"}),
    304: frozenset({"If-None-Match", "If-Modified-Since"}),
    412: frozenset({"If-Match"}),
    416: frozenset({"Range"}),
}
_NO_HEADERS: Mapping[str, str] = {}


class OriginClient:
    """Opens objects by presigned URL over persistent connections.

    Retries (connection lost or refused, 5xx, 503 SlowDown) happen before the first byte only, with exponential backoff
    and full jitter or after the pause that COS asks for, within a budget; the first byte must come within ``timeout``
    seconds of the first attempt. After that a body may pause for as long. A bucket of which ten objects fail in a row
    is left alone but for one try a second. ``buckets`` have a label of their own in the metric of errors, however many
    others there are.
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
        breakers: CircuitBreakers | None = None,
        buckets: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._session = session
        self._timeout = timeout
        self._shared_timeout = SharedTimeout(timeout)
        self._error_body_patience = SharedTimeout(min(_ERROR_BODY_TIMEOUT, timeout))
        self._retry_count = retry_count
        self._metrics = metrics
        self._budget = budget or RetryBudget()
        self._backoff = backoff or Backoff()
        self._breakers = breakers or CircuitBreakers()
        self._errors = OriginErrorCounts(metrics.origin_errors.add, buckets)

    async def fetch(
        self, url: str, bucket: str = "", method: str = "GET", headers: Mapping[str, str] = _NO_HEADERS
    ) -> OriginResponse:
        """An answer with status 200, 206 or 304, which the caller closes.

        ``url`` is sent as it is, byte for byte; ``bucket`` says whose breaker counts. Raises ``PresignedUrlRefused``
        on 403, ``VersionChanged`` on 412, ``ImageNotFound``, ``ImageBlocked``, ``ImageTooLarge``,
        ``RangeNotSatisfiable``, ``OriginPaused``, ``OriginThrottled``, ``OriginUnavailable`` or ``OriginTimeout``.
        """
        breaker = self._breakers.of(bucket)
        target = yarl.URL(url, encoded=True)
        if breaker.is_open and not breaker.allows_call(target.raw_path):
            raise OriginPaused(f"the breaker of bucket {bucket} is open")
        self._budget.earn()
        deadline = self._monotonic() + self._timeout
        attempt, shared_timeout, was_unsent = 0, self._shared_timeout, False
        while True:
            pause = 0.0
            try:
                with shared_timeout.bounded():
                    response = await self._session.request(method, target, headers=headers, allow_redirects=False)
            except NothingSent as error:
                # COS was not asked, so this is neither its failure nor a try.
                failure = Failure(OriginUnavailable(str(error)))
                may_try_again = not was_unsent and self._budget.spend()
                was_unsent = True
            except (aiohttp.ClientError, OSError) as error:
                breaker.failed(target.raw_path)
                failure = self._unanswered(error, bucket)
                # The first time a connection is lost, it may be one that COS had closed: not for being overloaded.
                if attempt or not isinstance(error, ConnectionLost):
                    pause = self._backoff.pause(attempt)
                may_try_again = self._may_try_again(attempt, pause, breaker, deadline)
                attempt += 1
            else:
                is_wanted = self._is_wanted(response.status, breaker, target)
                asked_for_by = _ASKED_FOR_BY.get(response.status)
                if asked_for_by is not None and asked_for_by.isdisjoint(headers):
                    response.close()
                    raise OriginUnavailable(f"COS answered {response.status} to what was not asked")
                if is_wanted:
                    return OriginResponse(response, self._shared_timeout, method)
                failure = await self._refused(response, bucket)
                pause = max(failure.wait, self._backoff.pause(attempt))
                may_try_again = self._may_try_again(attempt, pause, breaker, deadline)
                attempt += 1
            if not may_try_again:
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
            shared_timeout = SharedTimeout(left)

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

    async def probe(self, url: str) -> float | None:
        """Return COS's time (Unix seconds, None if it tells none) when something answers HTTP at ``url``.

        Raises ``OriginUnavailable`` otherwise.
        """
        try:
            with self._shared_timeout.bounded():
                async with self._session.head(yarl.URL(url, encoded=True), allow_redirects=False) as response:
                    return seconds_of(response.headers.get(hdrs.DATE))
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(type(error).__name__) from error

    async def diagnose(self, url: str) -> CosError:
        """COS's answer to a request for the first byte at ``url``, with its ``Date``; its status may be a success.

        Raises ``OriginUnavailable`` when nothing answers.
        """
        try:
            with self._shared_timeout.bounded():
                response = await self._session.get(
                    yarl.URL(url, encoded=True), headers={"Range": "bytes=0-0"}, allow_redirects=False
                )
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
        return await read_error(response, self._error_body_patience)

    def _may_try_again(self, attempt: int, pause: float, breaker: BucketBreaker, deadline: float) -> bool:
        return (
            attempt < self._retry_count
            and pause <= _LONGEST_WAIT
            and self._monotonic() + pause < deadline
            and not breaker.is_open
            and self._budget.spend()
        )

    def _unanswered(self, error: Exception, bucket: str) -> Failure:
        """Return what it comes to; raises ``OriginTimeout`` where an answer was waited for as long as may be."""
        is_timeout = isinstance(error, TimeoutError)
        self._count("timeout" if is_timeout else "error")
        self._errors.add(bucket, TIMEOUT if is_timeout else NO_ANSWER)
        if not is_timeout:
            what = str(error) if isinstance(error, ConnectionLost) else type(error).__name__
            outcome: OriginUnavailable | OriginTimeout = OriginUnavailable(f"{what}, bucket {bucket}")
        elif isinstance(error, aiohttp.ConnectionTimeoutError):  # nothing was sent yet
            outcome = OriginTimeout(f"no connection in time, bucket {bucket}")
        else:
            raise OriginTimeout(f"no answer within {self._timeout:g} s, bucket {bucket}") from error
        outcome.__cause__ = error.with_traceback(None)
        return Failure(outcome)

    async def _refused(self, response: aiohttp.ClientResponse, bucket: str) -> Failure:
        """Return what COS's error comes to; raises it where another attempt would get the same."""
        error = await read_error(response, self._error_body_patience)
        self._errors.add(bucket, error.code or NO_CODE)
        return failure_of(error, response.headers, f"{error}, bucket {bucket}")

    def _is_wanted(self, status: int, breaker: BucketBreaker, target: yarl.URL) -> bool:
        """Whether an answer carries an object, or word of it; every answer is counted."""
        self._count(str(status))
        if status >= 500:
            breaker.failed(target.raw_path)
            return False
        if not breaker.is_calm:
            breaker.succeeded(target.raw_path)
        return status in _WANTED

    def _count(self, status: str) -> None:
        self._metrics.origin_requests.add((status,))


@asynccontextmanager
async def open_origin(
    settings: ImageProxySettings,
    *,
    max_connections: int,
    metrics: Metrics,
    buckets: Collection[str] = (),
    resolver: AbstractResolver | None = None,
) -> AsyncIterator[OriginClient]:
    """The client on a session of its own; ``max_connections`` are for those who wait for an answer.

    ``buckets`` are those that are configured. ``resolver`` looks names up; None is the system's.
    """
    # So many that nobody waits for a place: that would pass for a failure of COS, and open its breaker.
    most = max_connections + MOST_UNATTENDED + _PROBES
    async with origin_session(timeout=settings.timeout, max_connections=most, resolver=resolver) as session:
        yield OriginClient(
            session, timeout=settings.timeout, retry_count=settings.retry_count, metrics=metrics, buckets=buckets
        )
