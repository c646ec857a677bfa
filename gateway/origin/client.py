"""Requests to COS by presigned URL: retries before the first byte, translates failures into outcomes."""

import asyncio
import re
import select
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Final, Self

import aiohttp
import yarl
from aiohttp import hdrs
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

from gateway.concurrency.shared_timeout import SharedTimeout
from gateway.errors import GatewayError, OriginPaused, OriginTimeout, OriginUnavailable
from gateway.origin.answer_clock import FirstAnswer
from gateway.origin.circuit_breakers import CircuitBreakers
from gateway.origin.cos_error import CREDENTIAL_CODES, REQUEST_ID, CosError
from gateway.origin.error_counts import BODY_LOST, NO_ANSWER, TIMEOUT, OriginErrorCounts
from gateway.origin.errors import ConnectionLost, NothingSent
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import FAST_RECEIVE, READ_AHEAD, CosAnswer, OriginResponse, set_receive
from gateway.origin.outcome import Failure, failure_of
from gateway.origin.probe_answer import ProbeAnswer
from gateway.origin.retry import Retries
from gateway.origin.signature_verdicts import SignatureVerdicts

_CONNECT_TIMEOUT: Final = 5.0  # seconds
_MOST_ORIGINS: Final = 256
_FIXED_FIELDS: Final = "Accept: */*\r\nAccept-Encoding: identity\r\nUser-Agent: image-gateway\r\n"
_UNSAFE_IN_FIELD: Final = re.compile(r"[\r\n\x00]")
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


# Returns the context of a request, given its method and URL. The context gets the status and COS's request id.
ObserveRequest = Callable[[str, yarl.URL], AbstractContextManager[Callable[[int, str | None], None]]]


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


class CosConnections:
    """Sends requests over persistent connections, each one time: no redirect, cookie or decompression, no retry.

    aiohttp's connector and parser do the work. Its session would take as long again as these two, for what no request
    to COS needs, and it would repeat a GET whose connection is lost, without the counters and the retry budget.

    observe: makes the context in which a request is sent.
    """

    def __init__(
        self, connector: aiohttp.TCPConnector, *, timeout: float, observe: ObserveRequest | None = None
    ) -> None:
        self._connector = connector
        # The client bounds the waits for a response and for its next bytes; ``connect`` bounds a new connection: name
        # look-up, a free place, handshakes.
        self._timeout = aiohttp.ClientTimeout(None, timeout, None, min(_CONNECT_TIMEOUT, timeout))
        self._observe = observe
        self._origins: dict[str, tuple[aiohttp.ClientRequest, str]] = {}  # by scheme, host and port, as URLs begin

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connector.close()

    async def request(self, method: str, url: str, headers: Mapping[str, str]) -> CosAnswer:
        """Return the answer once its header has come, which the caller closes. ``url`` is sent byte for byte.

        Raises ``NothingSent``, ``ConnectionLost``, and other errors of aiohttp and the system.
        """
        if self._observe is None:
            return await self._send(method, url, headers)
        with self._observe(method, yarl.URL(url, encoded=True)) as answered:
            answer = await self._send(method, url, headers)
            answered(answer.status, answer.headers.get(REQUEST_ID))
            return answer

    async def _send(self, method: str, url: str, headers: Mapping[str, str]) -> CosAnswer:
        path = url.find("/", 8)  # after "https://"
        is_safe = path > 0 and url.isascii() and url.isprintable() and " " not in url
        if not is_safe or any(map(_UNSAFE_IN_FIELD.search, headers.values())):
            raise ValueError("a URL without path or with control characters, or a field with line breaks")
        origin, fixed = self._origins.get(url[:path]) or self._add_origin(url[:path])
        text = f"{method} {url[path:]} HTTP/1.1\r\n{fixed}"
        for name, value in headers.items():
            text += f"{name}: {value}\r\n"
        try:
            connection = await self._connector.connect(origin, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection to {origin.host}") from error
        try:
            return await self._exchange(connection, f"{text}\r\n", is_head=method == hdrs.METH_HEAD)
        except BaseException as error:
            connection.close()
            if isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                raise ConnectionLost(type(error).__name__) from error.with_traceback(None)
            if isinstance(error, HttpProcessingError):
                raise aiohttp.ClientPayloadError(f"no HTTP: {error.message}") from error
            raise

    async def _exchange(self, connection: Connection, text: str, *, is_head: bool) -> CosAnswer:
        """Write the request, and return the answer once its header has come.

        Nothing is written to a kept-alive connection which COS has closed, or on which it sent more: on a connection
        with an answer that nobody asked for, each later answer would be that of the request before it.
        """
        transport, protocol = connection.transport, connection.protocol
        if transport is None or protocol is None or transport.is_closing():
            raise NothingSent(_PEER_CLOSED)
        # A new connection has None there. Over TLS it may hold bytes: the server's session tickets.
        _require_quiet(transport, is_used=protocol.read_timeout is not None)
        if protocol.should_close:
            raise NothingSent(_UNASKED)
        set_receive(transport, FAST_RECEIVE)
        # Lengths must be those of the bytes that are passed on, so nothing is requested or decoded in compressed form.
        # aiohttp's read timeout is off (0): it would set a timer for each wait.
        protocol.set_response_params(
            skip_payload=is_head, read_until_eof=True, auto_decompress=False, read_timeout=0, read_bufsize=READ_AHEAD
        )
        transport.write(text.encode("utf-8", "surrogateescape"))
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code < 200 or message.code == 101:
                return CosAnswer(message.code, message.headers, content, connection)

    def _add_origin(self, base: str) -> tuple[aiohttp.ClientRequest, str]:
        """Return the request by which the connector tells connections apart, and the fields of all requests."""
        request = aiohttp.ClientRequest(hdrs.METH_GET, yarl.URL(base), loop=asyncio.get_running_loop())
        if len(self._origins) >= _MOST_ORIGINS:
            self._origins.clear()
        self._origins[base] = origin = request, f"Host: {request.headers[hdrs.HOST]}\r\n{_FIXED_FIELDS}"
        return origin


def _require_quiet(transport: asyncio.Transport, *, is_used: bool) -> None:
    """Raise ``NothingSent`` if the peer has closed the connection or sent bytes that the loop has not read yet."""
    connection = transport.get_extra_info("socket")
    if connection is None:
        raise NothingSent(_PEER_CLOSED)
    poll = select.poll()
    poll.register(connection, _CLOSED | select.POLLIN if is_used else _CLOSED)
    for _, found in poll.poll(0):
        raise NothingSent(_PEER_CLOSED if found & _CLOSED else _UNASKED)


class OriginClient:
    """Requests objects by presigned URL over persistent connections.

    Retries (connection lost or refused, 5xx, 429) happen before the first byte only, with exponential backoff
    and full jitter or after the pause that COS asks for, within a budget. A bucket of which ten objects fail in a row
    gets a request a second. Requests that process images have another breaker, since COS may serve images that it
    cannot process.

    timeout: seconds from the first attempt to the first byte. After that, each pause in a body may last as long.
    retries: whether a request is made again, and when.
    observed: learns from each answer.
    most_waiting: how many requests may wait for a bucket, so that one that hangs leaves places to others. None: any.
    """

    def __init__(
        self,
        connections: CosConnections,
        *,
        timeout: float,
        retries: Retries,
        observed: ObservedAnswers,
        most_waiting: int | None = None,
    ) -> None:
        self._connections = connections
        self._timeout = timeout
        self._shared_timeout = SharedTimeout(timeout)
        self._error_body_timeout = SharedTimeout(min(_ERROR_BODY_TIMEOUT, timeout))
        self.retries = retries
        self.observed = observed
        self._breakers = CircuitBreakers()
        self._most_waiting = most_waiting
        self._waiting: Counter[str] = Counter()

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
        if self._most_waiting is None:
            return await self._fetch(url, bucket, method, headers, is_processed=is_processed)
        if self._waiting[bucket] >= self._most_waiting:
            raise OriginPaused(f"{self._most_waiting} requests wait for bucket {bucket}")
        self._waiting[bucket] += 1
        try:
            return await self._fetch(url, bucket, method, headers, is_processed=is_processed)
        finally:
            self._waiting[bucket] -= 1
            self._waiting += Counter()  # without buckets that have none

    async def _fetch(
        self, url: str, bucket: str, method: str, headers: Mapping[str, str], *, is_processed: bool
    ) -> OriginResponse:
        breakers = self._breakers
        circuit = f"{bucket}{_PROCESSED}" if is_processed else bucket
        if breakers.by_bucket and not breakers.allows_call(circuit, _object_of(url)):
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
                    response = await self._connections.request(method, url, headers)
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
                breakers.failed(circuit, _object_of(url))
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
                    breakers.failed(circuit, _object_of(url))
                elif breakers.by_bucket:
                    breakers.succeeded(circuit, _object_of(url))
                causes = _CAUSED_BY.get(status)
                if causes is not None and causes.isdisjoint(headers):
                    response.close()
                    raise OriginUnavailable(f"COS answered {status} to a request that cannot cause it")
                if status in _SUCCESSES:
                    observed.verdicts.accepted[bucket] = url
                    return OriginResponse(response, self._shared_timeout, method, is_processed=is_processed)
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
                response = await self._connections.request(method, url, headers)
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

    async def _refused(self, response: CosAnswer, bucket: str, url: str) -> Failure:
        """Return the failure that COS's error means. Raises it if another attempt would get the same answer."""
        error = await response.read_error(self._error_body_timeout)
        self.observed.refused(bucket, url, error)
        try:
            failure = failure_of(error, response.headers, f"{error}, bucket {bucket}")
        except GatewayError as outcome:
            outcome.cos = error
            raise
        failure.outcome.cos = error
        return failure


def _object_of(url: str) -> str:
    """Return the URL without the signature."""
    return url.partition("?")[0]
