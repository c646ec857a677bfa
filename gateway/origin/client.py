"""Requests to COS by presigned URL: retries before the first byte, translates failures into outcomes."""

import asyncio
import select
import time
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Final
from weakref import WeakSet

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.client_middlewares import ClientHandlerType
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

from gateway.concurrency.shared_timeout import SharedTimeout
from gateway.errors import GatewayError, OriginPaused, OriginTimeout, OriginUnavailable
from gateway.origin.answer_clock import FirstAnswer
from gateway.origin.circuit_breakers import CircuitBreakers
from gateway.origin.cos_error import CREDENTIAL_CODES, CosError, read_error
from gateway.origin.error_counts import BODY_LOST, NO_ANSWER, TIMEOUT, OriginErrorCounts
from gateway.origin.errors import ConnectionLost, NothingSent
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import FAST_RECEIVE, OriginResponse, set_receive
from gateway.origin.outcome import Failure, failure_of
from gateway.origin.probe_answer import ProbeAnswer
from gateway.origin.retry import Retries
from gateway.origin.signature_verdicts import SignatureVerdicts
from gateway.origin.waiting_limit import WaitingLimit

_LONGEST_PAUSE: Final = 2.0  # seconds; a longer Retry-After of COS is passed on to the client instead
_SLOW: Final = 1.0  # seconds until the header of an answer
_ERROR_BODY_TIMEOUT: Final = 1.0  # seconds for a body that only explains an error
_SUCCESSES: Final = frozenset({200, 206, 304})
# Statuses that only answer requests with one of these fields (RFC 9110 sections 13.1 and 14.2).
_CAUSED_BY: Final[Mapping[int, frozenset[str]]] = {
    206: frozenset({"Range"}),
    304: frozenset({"If-None-Match", "If-Modified-Since"}),
    412: frozenset({"If-Match"}),
    416: frozenset({"Range"}),
}
_PROCESSED: Final = " (processing)"  # after the name of the bucket, in that of its breaker
_NO_HEADERS: Final[Mapping[str, str]] = {}
_FIRST_BYTE: Final[Mapping[str, str]] = {"Range": "bytes=0-0"}
# What poll(2) reports once the peer has closed or reset the connection; only Linux reports a FIN.
_CLOSED: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_PEER_CLOSED: Final = "a kept-alive connection was closed"
_UNASKED: Final = "a kept-alive connection had bytes that were not asked for"


class ObservedAnswers:
    """What the gateway learns from COS's answers to the requests of clients: counts, and what others read here.

    buckets: keep their own label in the metric of errors, even if many others fail.
    credentials_refused: gets the bucket and the URL when COS rejects the credentials of a URL.
    first_answers: an answer of each bucket, for ``AnswerClock``, which empties it.
    verdicts: for ``BucketsProbe``, which takes them.
    """

    def __init__(
        self,
        metrics: OriginMetrics,
        buckets: Collection[str] = (),
        credentials_refused: Callable[[str, str], None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._errors = OriginErrorCounts(
            metrics.origin_errors, metrics.origin_bucket_requests, metrics.origin_slow, buckets
        )
        self._credentials_refused = credentials_refused
        self.first_answers: dict[str, FirstAnswer] = {}
        self.verdicts = SignatureVerdicts()

    def answered(self, bucket: str, status: int, headers: Mapping[str, str]) -> None:
        """Count an answer of COS."""
        self._count(str(status), bucket)
        if bucket not in self.first_answers:
            self.first_answers[bucket] = FirstAnswer(headers, time.monotonic())

    def slow(self, bucket: str) -> None:
        """Count an answer whose header took more than a second."""
        self._errors.slow(bucket)

    def unanswered(self, bucket: str, *, is_timeout: bool) -> None:
        """Count a request that COS did not answer."""
        self._count("timeout" if is_timeout else "error", bucket)
        self._errors.add(bucket, TIMEOUT if is_timeout else NO_ANSWER)

    def refused(self, bucket: str, url: str, error: CosError) -> None:
        """Note COS's error in answer to a request for ``url``."""
        self._errors.answer(bucket, error)
        self.verdicts.add(bucket, url, error)
        if error.code in CREDENTIAL_CODES and self._credentials_refused is not None:
            self._credentials_refused(bucket, url)

    def body_lost(self, bucket: str) -> None:
        """Count a body that broke off or is not what COS announced, and of which the rest could not be had."""
        self._errors.add(bucket, BODY_LOST)

    def retried(self) -> None:
        """Count a retry."""
        self._metrics.origin_retries.inc()

    def _count(self, status: str, bucket: str) -> None:
        self._metrics.origin_requests.add((status,))
        if bucket in self._errors.buckets:
            self._metrics.origin_bucket_requests.add((bucket,))
        else:
            self._errors.request(bucket)


class OriginClient:
    """Requests objects by presigned URL over persistent connections.

    Retries (connection lost or refused, 5xx, 429) happen before the first byte only, with exponential backoff
    and full jitter or after the pause that COS asks for, within a budget. A bucket of which ten objects fail in a row
    gets a request a second. Requests that process images have another breaker, since COS may serve images that it
    cannot process.

    timeout: seconds from the first attempt to the first byte. After that, each pause in a body may last as long.
    retries: whether a request is made again, and when.
    observed: learns from each answer.
    waiting: limits the requests that wait for a bucket. None: no limit.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        timeout: float,
        retries: Retries,
        observed: ObservedAnswers,
        waiting: WaitingLimit | None = None,
    ) -> None:
        self._session = session
        self._timeout = timeout
        self._shared_timeout = SharedTimeout(timeout)
        self._error_body_timeout = SharedTimeout(min(_ERROR_BODY_TIMEOUT, timeout))
        self.retries = retries
        self.observed = observed
        self._breakers = CircuitBreakers()
        self._waiting = waiting

    async def fetch(
        self,
        url: str,
        bucket: str = "",
        method: str = "GET",
        headers: Mapping[str, str] = _NO_HEADERS,
        *,
        is_processed: bool = False,
    ) -> OriginResponse:
        """Return an open response with status 200, 206 or 304, which the caller closes.

        ``url`` is sent byte for byte; ``bucket`` and ``is_processed`` name the circuit breaker. Raises
        ``PresignedUrlRefused`` on 403, ``VersionChanged`` on 412, ``ImageNotFound``, ``ImageBlocked``,
        ``ImageTooLarge``, ``RangeNotSatisfiable``, ``OriginPaused``, ``OriginThrottled``, ``OriginUnavailable`` or
        ``OriginTimeout``.
        """
        if self._waiting is None:
            return await self._fetch(url, bucket, method, headers, is_processed=is_processed)
        with self._waiting.place(bucket):
            return await self._fetch(url, bucket, method, headers, is_processed=is_processed)

    async def _fetch(
        self, url: str, bucket: str, method: str, headers: Mapping[str, str], *, is_processed: bool
    ) -> OriginResponse:
        target, breakers = yarl.URL(url, encoded=True), self._breakers
        circuit = f"{bucket}{_PROCESSED}" if is_processed else bucket
        if breakers.by_bucket and not breakers.allows_call(circuit, target.raw_path):
            raise OriginPaused(f"the breaker of bucket {circuit} is open")
        retries, observed = self.retries, self.observed
        retries.budget.requests += 1
        started = time.monotonic()
        deadline = started + self._timeout
        attempt, shared_timeout, was_unsent = 0, self._shared_timeout, False
        while True:
            pause = 0.0
            try:
                with shared_timeout.limit():
                    response = await self._session.request(method, target, headers=headers, allow_redirects=False)
            except NothingSent as error:
                # COS got no request, so this is no failure of COS. It closes idle connections together: the first one
                # that is found closed costs no attempt, each further one does.
                failure = Failure(OriginUnavailable(str(error)))
                if was_unsent:
                    pause = retries.backoff.pause(attempt)
                    may_retry = self._may_retry(attempt, pause, circuit, deadline)
                    attempt += 1
                else:
                    may_retry = was_unsent = retries.budget.spend()
            except (aiohttp.ClientError, OSError) as error:
                breakers.failed(circuit, target.raw_path)
                failure = self._unanswered(error, bucket)
                # COS may have closed the first connection that is lost while it was idle: no sign of overload.
                if attempt or not isinstance(error, ConnectionLost):
                    pause = retries.backoff.pause(attempt)
                may_retry = self._may_retry(attempt, pause, circuit, deadline)
                attempt += 1
            else:
                status = response.status
                observed.answered(bucket, status, response.headers)
                if not is_processed and time.monotonic() - started > _SLOW:
                    observed.slow(bucket)
                if status >= 500 or status == 429:
                    breakers.failed(circuit, target.raw_path)
                elif breakers.by_bucket:
                    breakers.succeeded(circuit, target.raw_path)
                causes = _CAUSED_BY.get(status)
                if causes is not None and causes.isdisjoint(headers):
                    response.close()
                    raise OriginUnavailable(f"COS answered {status} to a request that cannot cause it")
                if status in _SUCCESSES:
                    observed.verdicts.accepted[bucket] = url
                    return OriginResponse(response, self._shared_timeout, method)
                failure = await self._refused(response, bucket, url)
                pause = max(failure.wait, retries.backoff.pause(attempt))
                may_retry = self._may_retry(attempt, pause, circuit, deadline)
                attempt += 1
            if not may_retry:
                break
            observed.retried()
            await asyncio.sleep(pause)
            started = time.monotonic()
            left = deadline - started
            if left <= 0:  # the event loop was late
                break
            shared_timeout = SharedTimeout(left)
        try:
            raise failure.outcome
        finally:  # the failure and its traceback would refer to each other: a reference cycle
            del failure

    async def diagnose(
        self, url: str, method: str = hdrs.METH_GET, headers: Mapping[str, str] = _FIRST_BYTE
    ) -> ProbeAnswer:
        """Return COS's answer to one request, by default for the first byte at ``url``; it may be a success.

        Raises ``OriginUnavailable`` when no server answers.
        """
        started = time.monotonic()
        try:
            with self._shared_timeout.limit():
                response = await self._session.request(
                    method, yarl.URL(url, encoded=True), headers=headers, allow_redirects=False
                )
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
        return await ProbeAnswer.read(response, time.monotonic() - started, self._error_body_timeout)

    def is_paused(self, bucket: str) -> bool:
        """Return whether requests to the bucket are paused, because many of its objects failed in a row."""
        return self._breakers.is_open(bucket)

    def _may_retry(self, attempt: int, pause: float, circuit: str, deadline: float) -> bool:
        return (
            attempt < self.retries.count.value
            and pause <= _LONGEST_PAUSE
            and time.monotonic() + pause < deadline
            and not self._breakers.is_open(circuit)
            and self.retries.budget.spend()
        )

    def _unanswered(self, error: Exception, bucket: str) -> Failure:
        """Return the failure of a request without an answer.

        Raises ``OriginTimeout`` if COS had the request for the whole time: no time is left for another attempt.
        """
        is_timeout = isinstance(error, TimeoutError)
        self.observed.unanswered(bucket, is_timeout=is_timeout)
        if not is_timeout:
            reason = str(error) if isinstance(error, ConnectionLost) else type(error).__name__
            outcome: OriginUnavailable | OriginTimeout = OriginUnavailable(f"{reason}, bucket {bucket}")
        elif isinstance(error, aiohttp.ConnectionTimeoutError):  # nothing was sent yet
            outcome = OriginTimeout(f"no connection in time, bucket {bucket}")
        else:
            raise OriginTimeout(f"no answer within {self._timeout:g} s, bucket {bucket}") from error
        outcome.__cause__ = error.with_traceback(None)
        return Failure(outcome)

    async def _refused(self, response: aiohttp.ClientResponse, bucket: str, url: str) -> Failure:
        """Return the failure that COS's error means. Raises it if another attempt would get the same answer."""
        error = await read_error(response, self._error_body_timeout)
        self.observed.refused(bucket, url, error)
        try:
            failure = failure_of(error, response.headers, f"{error}, bucket {bucket}")
        except GatewayError as outcome:
            outcome.cos = error
            raise
        failure.outcome.cos = error
        return failure


class OriginRequest(aiohttp.ClientRequest):
    """A request that is not written to a kept-alive connection which COS has closed, or on which it sent more.

    On a connection with an answer that nobody asked for, each later answer would be that of the request before it.

    used: the connections that had a request. A new one over TLS may hold bytes: the server's session tickets.
    """

    used: ClassVar["WeakSet[ResponseHandler]"] = WeakSet()

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write the request. Raises ``NothingSent``."""
        transport, protocol = conn.transport, conn.protocol
        if transport is None or protocol is None:
            raise NothingSent(_PEER_CLOSED)
        _require_quiet(transport, is_used=protocol in self.used)
        if protocol.should_close:
            raise NothingSent(_UNASKED)
        self.used.add(protocol)
        set_receive(transport, FAST_RECEIVE)
        try:
            return await super().send(conn)
        except aiohttp.ClientConnectionResetError as error:
            raise NothingSent(_PEER_CLOSED) from error.with_traceback(None)


async def send_once(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Send ``request`` one time. Raises ``ConnectionLost`` in place of the exceptions that aiohttp retries.

    aiohttp repeats GET and HEAD when a connection is lost, without the counters and the retry budget. It does so for
    two exceptions, so they must not reach it.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, TimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLost(type(error).__name__) from error.with_traceback(None)


def _require_quiet(transport: asyncio.Transport, *, is_used: bool) -> None:
    """Raise ``NothingSent`` if the peer has closed the connection or sent bytes that the loop has not read yet."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        raise NothingSent(_PEER_CLOSED)
    poll = select.poll()
    poll.register(connection, _CLOSED | select.POLLIN if is_used else _CLOSED)
    for _, found in poll.poll(0):
        raise NothingSent(_PEER_CLOSED if found & _CLOSED else _UNASKED)
