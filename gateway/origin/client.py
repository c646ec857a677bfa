"""Requests to COS by presigned URL: retries before the first byte, counts, failures as outcomes for the client."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, NamedTuple

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver

from gateway.concurrency.time_limits import SharedTimeout
from gateway.errors import GatewayError, OriginPaused, OriginTimeout, OriginUnavailable, without_traceback
from gateway.net.http_fields import seconds_of
from gateway.origin.cos_errors import (
    CODES,
    CREDENTIAL_CODES,
    THROTTLED_STATUSES,
    ConnectionLost,
    CosError,
    Failure,
    NothingSent,
    failure_of,
    is_refusal,
)
from gateway.origin.failures import CircuitBreakers
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import (
    CosConnections,
    ObjectMetadata,
    ObserveRequest,
    OriginResponse,
    checksum_in,
    metadata_in,
)
from gateway.origin.retry import Retries
from gateway.settings import ImageProxySettings, Live

# The most running requests to COS for which no client waits.
MOST_UNATTENDED: Final = 32
_PROBES: Final = 4  # connections for readiness probes and diagnoses
_KEEPALIVE: Final = 30.0  # seconds
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
_NO_HEADERS: Final[Mapping[str, str]] = {}
_FIRST_BYTE: Final[Mapping[str, str]] = {"Range": "bytes=0-0"}
_MOST_BUCKETS: Final = 50  # with their own label, since rows may name any number of buckets
_MOST_OTHER_CODES: Final = 50  # beside the documented ones; COS adds codes, and documents those of processing elsewhere
_NO_CODE, _NO_ANSWER, _TIMEOUT, _BODY_LOST, _OTHER = "none", "no_answer", "timeout", "body_lost", "other"


class _Labels:
    """Limits a metric's label to the known values and the first ``most`` others; "other" stands for the rest."""

    def __init__(self, known: Collection[str], most: int) -> None:
        self.known = set(known)
        self._most = len(self.known) + most

    def of(self, value: str) -> str:
        if value not in self.known:
            if len(self.known) >= self._most:
                return _OTHER
            self.known.add(value)
        return value


class ObservedAnswers:
    """Counts COS's answers to requests of clients, and learns COS's time and whether COS accepts signatures.

    Errors are counted by bucket (``buckets`` and the first 50 others) and by COS's code (those that are documented and
    the first 50 others). The series of ``buckets`` and documented codes start at 0, so that ``rate()`` sees the first
    increase.

    credentials_refused: gets the bucket and the URL when COS rejects the credentials of a URL.
    accepted: a URL of each bucket that COS has accepted since ``take_verdicts``. The client adds to it itself, since
        every request that succeeds does so.
    """

    def __init__(
        self,
        metrics: OriginMetrics,
        buckets: Collection[str] = (),
        credentials_refused: Callable[[str, str], None] | None = None,
    ) -> None:
        self.metrics = metrics
        self._credentials_refused = credentials_refused
        self.accepted: dict[str, str] = {}
        self._refused: dict[str, CosError] = {}
        # By bucket: the first answer since ``cos_time``, and when it came (monotonic seconds).
        self._dated: dict[str, tuple[Mapping[str, str], float]] = {}
        self._buckets = _Labels(buckets, _MOST_BUCKETS)
        self._codes = _Labels({*CODES, _NO_CODE, _NO_ANSWER, _TIMEOUT, _BODY_LOST}, _MOST_OTHER_CODES)
        for bucket in buckets:
            metrics.origin_bucket_requests.add((bucket,), 0)
            metrics.origin_slow.add((bucket,), 0)
            for code in self._codes.known:
                metrics.origin_errors.add((bucket, code), 0)

    def answered(self, bucket: str, status: int, headers: Mapping[str, str], *, is_slow: bool = False) -> None:
        """Count an answer of COS. ``is_slow``: its header took more than a second."""
        self._count(str(status), bucket)
        if is_slow:
            self.metrics.origin_slow.add((self._buckets.of(bucket),))
        if bucket not in self._dated:
            self._dated[bucket] = headers, time.monotonic()

    def unanswered(self, bucket: str, *, is_timeout: bool) -> None:
        """Count a request that COS did not answer."""
        self._count("timeout" if is_timeout else "error", bucket)
        self._count_error(bucket, _TIMEOUT if is_timeout else _NO_ANSWER)

    def refused(self, bucket: str, url: str, error: CosError) -> None:
        """Note COS's error in answer to a request for ``url``."""
        # Without a code, as in every answer to HEAD, the status may name it.
        self._count_error(bucket, error.code or ("SlowDown" if error.status in THROTTLED_STATUSES else _NO_CODE))
        match is_refusal(error):
            case True:
                self._refused[bucket] = error
            case False:
                self.accepted[bucket] = url
        if error.code in CREDENTIAL_CODES and self._credentials_refused is not None:
            self._credentials_refused(bucket, url)

    def body_lost(self, bucket: str) -> None:
        """Count a body that broke off or is not what COS announced, and of which the rest could not be had."""
        self._count_error(bucket, _BODY_LOST)

    def take_verdicts(self) -> tuple[dict[str, str], dict[str, CosError]]:
        """Return and forget a URL that each bucket accepted, and the last refusal of each bucket."""
        taken = self.accepted, self._refused
        self.accepted, self._refused = {}, {}
        return taken

    def cos_time(
        self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> float | None:
        """Return COS's time in Unix seconds by the answers since the last call, or None if no answer has a time.

        Of several buckets, the time nearest to ``now`` is used: if this machine's clock is wrong, it differs from all.
        """
        times = [
            date + monotonic() - received
            for headers, received in self._dated.values()
            # An answer with an Age comes from a cache, and has the Date of an earlier answer (RFC 9111 section 5.1).
            if "Age" not in headers and (date := seconds_of(headers.get(hdrs.DATE))) is not None
        ]
        self._dated.clear()
        return min(times, key=lambda cos_time: abs(cos_time - now()), default=None)

    def _count(self, status: str, bucket: str) -> None:
        self.metrics.origin_requests.add((status,))
        self.metrics.origin_bucket_requests.add((self._buckets.of(bucket),))

    def _count_error(self, bucket: str, code: str) -> None:
        self.metrics.origin_errors.add((self._buckets.of(bucket), self._codes.of(code)))


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """COS's answer to a diagnostic request, whose body was not read further than its error.

    error: has the status, which may be a success.
    crc64: of the whole object, None without one.
    seconds: until the header had arrived.
    """

    error: CosError
    metadata: ObjectMetadata
    crc64: int | None
    seconds: float

    @property
    def status(self) -> int:
        return self.error.status

    @property
    def is_success(self) -> bool:
        """Whether COS sent the object, or a part of it."""
        return self.status in (200, 206)


class _Request(NamedTuple):
    """A request to COS by a presigned URL. ``is_processed``: COS processes the image before it answers."""

    url: str
    bucket: str
    method: str
    headers: Mapping[str, str]
    is_processed: bool

    @property
    def circuit(self) -> str:
        """The name of the breaker. COS may serve images that it cannot process."""
        return f"{self.bucket} (processing)" if self.is_processed else self.bucket

    @property
    def object_path(self) -> str:
        """The URL without the signature."""
        return self.url.partition("?")[0]


@dataclass(slots=True, eq=False)
class OriginClient:
    """HTTP client that requests objects from COS by presigned URL, over persistent connections.

    Retries (connection lost or refused, 5xx, 429) happen before the first byte only, with exponential backoff
    and full jitter or after the pause that COS asks for, within a budget. A bucket of which ten objects fail in a row
    gets a request a second. Requests that process images have another breaker, since COS may serve images that it
    cannot process.

    timeout: seconds from the first attempt to the first byte. After that, each pause in a body may last as long.
    retries: whether a request is made again, and when.
    observed: learns from each answer.
    most_waiting: how many requests may wait for a bucket, so that one that hangs leaves places to others. None: any.
    """

    connections: CosConnections
    _: KW_ONLY
    timeout: float
    retries: Retries
    observed: ObservedAnswers
    most_waiting: int | None = None
    _breakers: CircuitBreakers = field(default_factory=CircuitBreakers, init=False)
    _waiting: Counter[str] = field(default_factory=Counter, init=False)
    _shared_timeout: SharedTimeout = field(init=False)
    _error_body_timeout: SharedTimeout = field(init=False)

    def __post_init__(self) -> None:
        self._shared_timeout = SharedTimeout(self.timeout)
        self._error_body_timeout = SharedTimeout(min(_ERROR_BODY_TIMEOUT, self.timeout))

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

        ``url`` is sent byte for byte; ``bucket`` and ``is_processed`` name the circuit breaker. Raises what
        ``failure_of`` raises, ``OriginPaused``, ``OriginThrottled``, ``OriginUnavailable`` or ``OriginTimeout``.
        """
        request = _Request(url, bucket, method, headers, is_processed)
        if self.most_waiting is None:
            return await self._fetch(request)
        if self._waiting[bucket] >= self.most_waiting:
            raise OriginPaused(f"{self.most_waiting} requests wait for bucket {bucket}")
        self._waiting[bucket] += 1
        try:
            return await self._fetch(request)
        finally:
            self._waiting[bucket] -= 1
            self._waiting += Counter()  # without buckets that have none

    async def _fetch(self, request: _Request) -> OriginResponse:
        if self._breakers.by_bucket and not self._breakers.allows_call(request.circuit, request.object_path):
            raise OriginPaused(f"the breaker of bucket {request.circuit} is open")
        retries = self.retries
        retries.requests += 1
        deadline = time.monotonic() + self.timeout
        attempt, shared_timeout, was_unsent = 0, self._shared_timeout, False
        while True:
            result = await self._attempt(request, shared_timeout)
            if isinstance(result, OriginResponse):
                return result
            if result.is_unsent and not was_unsent:
                # COS closes idle connections together: the first one that is found closed costs no attempt.
                pause, was_unsent, may_retry = 0.0, True, retries.spend()
            else:
                # COS may have closed the first connection that is lost while it was idle: no sign of overload.
                is_idle = result.is_lost and not attempt
                pause = 0.0 if is_idle else max(result.wait, retries.backoff(attempt))
                may_retry = (
                    attempt < retries.count.value
                    and pause <= _LONGEST_PAUSE
                    and time.monotonic() + pause < deadline
                    and not self._breakers.is_open(request.circuit)
                    and retries.spend()
                )
                attempt += 1
            if not may_retry:
                break
            self.observed.metrics.origin_retries.inc()
            await asyncio.sleep(pause)
            left = deadline - time.monotonic()
            if left <= 0:  # the event loop was late
                break
            shared_timeout = SharedTimeout(left)
        try:
            raise result.outcome
        finally:  # its traceback is needed, so the frame must not keep it: see ``without_traceback``
            del result

    async def _attempt(self, request: _Request, shared_timeout: SharedTimeout) -> OriginResponse | Failure:
        """Send the request once. Return the response, or a failure that may pass. Raises any other outcome."""
        bucket, breakers, observed, started = request.bucket, self._breakers, self.observed, time.monotonic()
        try:
            with shared_timeout.limit():
                answer = await self.connections.request(request.method, request.url, request.headers)
        except NothingSent as error:  # COS got no request, so this is no failure of COS
            return Failure(OriginUnavailable(str(error)), is_unsent=True)
        except (aiohttp.ClientError, OSError) as error:
            breakers.failed(request.circuit, request.object_path)
            return self._unanswered(error, bucket)
        status = answer.status
        is_slow = not request.is_processed and time.monotonic() - started > _SLOW
        observed.answered(bucket, status, answer.headers, is_slow=is_slow)
        if status >= 500 or status == 429:
            breakers.failed(request.circuit, request.object_path)
        elif breakers.by_bucket:
            breakers.succeeded(request.circuit, request.object_path)
        causes = _CAUSED_BY.get(status)
        if causes is not None and causes.isdisjoint(request.headers):
            answer.close()
            raise OriginUnavailable(f"COS answered {status} to a request that cannot cause it")
        if status in _SUCCESSES:
            observed.accepted[bucket] = request.url
            return answer.accept(request.method, is_processed=request.is_processed)
        refused = await answer.read_error(self._error_body_timeout)
        observed.refused(bucket, request.url, refused)
        try:
            failure = failure_of(refused, answer.headers, f"{refused}, bucket {bucket}")
        except GatewayError as outcome:
            outcome.cos_code, outcome.cos_request_id = refused.code, refused.request_id
            raise
        failure.outcome.cos_code, failure.outcome.cos_request_id = refused.code, refused.request_id
        return failure

    async def diagnose(
        self, url: str, method: str = hdrs.METH_GET, headers: Mapping[str, str] = _FIRST_BYTE
    ) -> ProbeAnswer:
        """Return COS's answer to a request, by default for the first byte. Raises ``OriginUnavailable`` without one."""
        started = time.monotonic()
        try:
            with self._shared_timeout.limit():
                response = await self.connections.request(method, url, headers)
        except (aiohttp.ClientError, OSError) as error:
            raise OriginUnavailable(f"{type(error).__name__}: {error}") from error
        seconds, headers = time.monotonic() - started, response.headers
        answer = await response.read_error(self._error_body_timeout)
        return ProbeAnswer(answer, metadata_in(response.status, headers), checksum_in(headers), seconds)

    def is_paused(self, bucket: str) -> bool:
        """Return whether requests to the bucket are paused, because many of its objects failed in a row."""
        return self._breakers.is_open(bucket)

    def _unanswered(self, error: Exception, bucket: str) -> Failure:
        """Return the failure. Raises ``OriginTimeout`` if COS had all the time: none is left for another attempt."""
        is_timeout = isinstance(error, TimeoutError)
        self.observed.unanswered(bucket, is_timeout=is_timeout)
        if not is_timeout:
            reason = str(error) if isinstance(error, ConnectionLost) else type(error).__name__
            outcome: OriginUnavailable | OriginTimeout = OriginUnavailable(f"{reason}, bucket {bucket}")
        elif isinstance(error, aiohttp.ConnectionTimeoutError):  # nothing was sent yet
            outcome = OriginTimeout(f"no connection in time, bucket {bucket}")
        else:
            raise OriginTimeout(f"no answer within {self.timeout:g} s, bucket {bucket}") from error
        outcome.__cause__ = without_traceback(error)
        return Failure(outcome, is_lost=isinstance(error, ConnectionLost))


@asynccontextmanager
async def open_origin(
    settings: Live[ImageProxySettings],
    *,
    max_connections: int,
    metrics: OriginMetrics,
    buckets: Collection[str] = (),
    credentials_refused: Callable[[str, str], None] | None = None,
    resolver: AbstractResolver | None = None,
    observe: ObserveRequest | None = None,
) -> AsyncIterator[OriginClient]:
    """Open a client for the configured ``buckets``, with ``max_connections`` for the requests of clients."""
    # So many that no request waits for a connection: the wait would count as a failure of COS and open its breaker.
    most = max_connections + MOST_UNATTENDED + _PROBES
    timeout, observed = settings.value.timeout, ObservedAnswers(metrics, buckets, credentials_refused)
    async with aiohttp.TCPConnector(limit=most, keepalive_timeout=_KEEPALIVE, resolver=resolver) as connector:
        yield OriginClient(
            CosConnections(connector, timeout=timeout, observe=observe),
            timeout=timeout,
            retries=Retries(settings.map(lambda image_proxy: image_proxy.retry_count)),
            observed=observed,
            # With one bucket there is no other to leave places to.
            most_waiting=max(1, max_connections // 2) if len(buckets) > 1 else None,
        )
