"""The newest credentials of each source, in memory, refreshed in the background, and their choice by bucket.

A refresh begins a quarter of an hour before the end, or in the last fifth of the life if that is longer. For
credentials of less than half an hour, it begins at half of their life. Until it succeeds, the old credentials sign.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Final
from urllib.parse import quote_plus

from gateway.concurrency.background import background
from gateway.errors import DependencyDown, NoCredentials
from gateway.net.bounded_http import BoundedHttp
from gateway.presign.credentials import Credentials, CredentialsUnavailable, Fetch, SourceDown
from gateway.presign.credentials.sources import POLL, source_of
from gateway.presign.metrics import PresignMetrics
from gateway.presign.url_lifetime import CosClock
from gateway.settings import CredentialsSettings

logger = logging.getLogger(__name__)

_LEAD: Final = 900.0  # seconds before the end
_LAST_PART: Final = 0.2  # of the life
_FIRST_RETRY: Final = 1.0  # seconds
_LONGEST_RETRY: Final = 30.0
_LONGEST_POLL_RETRY: Final = 5.0
_LOOK_AGAIN: Final = 60.0  # seconds between two looks at the clock
_LONGEST_UNCHANGED: Final = 60.0  # seconds until a source is asked again that still has the same set
_AFTER_REFUSAL: Final = 10.0  # seconds between two refreshes that refusals of COS cause
_TIMEOUT: Final = 8.0  # seconds for a refresh: an assumed role on an instance takes three requests
_FIRST_TIMEOUT: Final = 3.0  # seconds that a start waits for the sources; it then continues without credentials
_LEAST_LEFT: Final = 5.0  # seconds; a set that ends sooner is refused


@dataclass(slots=True, eq=False)
class RotatingCredentials:
    """Keeps the newest credentials from a source (a file, Tencent's STS) in memory, to sign COS's URLs for ``buckets``.

    fetch: asks the source. ``name``: the source as the configuration names it.
    poll: seconds between two fetches, infinite if one is enough. None: the source is asked before the credentials end.
    now: COS's clock in Unix seconds.
    refusal_pause: the least seconds between two refreshes that refusals of COS cause.
    newest: the newest credentials, None before the source gave any.
    failures: how many refreshes failed since the last successful one. ``reason``: why the last one failed.
    is_down: whether the source was down then (``SourceDown``), or took too long.
    tried: set after the first request to the source.
    """

    fetch: Fetch
    name: str
    buckets: Sequence[str]
    metrics: PresignMetrics
    _: KW_ONLY
    poll: float | None = None
    now: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    refusal_pause: float = _AFTER_REFUSAL
    newest: Credentials | None = field(init=False, default=None)
    failures: int = field(init=False, default=0)
    reason: str = field(init=False, default="there was no refresh yet")
    is_down: bool = field(init=False, default=False)
    tried: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _obtained_at: float = 0.0
    _is_unchanged: bool = False
    _has_warned_of_end: bool = False
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _refreshing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _obeyed_at: float = float("-inf")  # when a refusal last caused a refresh, by the clock of the event loop

    @property
    def _names(self) -> str:
        return ",".join(self.buckets)

    def has_ended(self) -> NoCredentials:
        """Return the error for when ``newest`` is None or has ended, and log it once.

        A refresh follows at once, unless it is known to fail: the machine slept, or its clock was corrected.
        """
        if self.newest is not None and not self.failures:
            self._wanted.set()
        if not self._has_warned_of_end:
            self._has_warned_of_end = True
            text = "there are no usable credentials: bucket=%s source=%s reason=%s"
            logger.error(text, self._names, self.name, self.reason)
        return NoCredentials(f"there are no credentials from the source {self.name}: {self.reason}")

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the credentials end. 0 without credentials, None if they never end."""
        if self.newest is None:
            return 0.0
        return None if self.newest.expires_at is None else max(0.0, self.newest.expires_at - self.now())

    @property
    def life(self) -> float | None:
        """Seconds from when the credentials were obtained to their end, or None without credentials that end."""
        if self.newest is None or self.newest.expires_at is None:
            return None
        return max(0.0, self.newest.expires_at - self._obtained_at)

    @property
    def is_near_end(self) -> bool:
        """Whether there are no credentials, or less than a fifth of their life is left."""
        left = self.seconds_left
        return left is not None and left <= _LAST_PART * (self.life or 0.0)

    def refused(self, key: str) -> None:
        """Refresh soon if the credentials are the newest that COS or another service refuses.

        ``key`` is their SecretId, or a URL that they signed. Refusals cause one refresh in ``refusal_pause`` seconds.
        """
        if self.newest is None or self.newest.secret_id == key or f"q-ak={quote_plus(self.newest.secret_id)}&" in key:
            self._wanted.set()

    async def refresh(self) -> bool:
        """Fetch the credentials now, or wait for the running fetch. Return whether the source gave any."""
        if self._refreshing.locked():
            async with self._refreshing:
                return self.failures == 0
        async with self._refreshing:
            self._wanted.clear()
            try:
                async with asyncio.timeout(_TIMEOUT):
                    self._take(await self.fetch())
            except (CredentialsUnavailable, TimeoutError) as error:
                is_down = isinstance(error, SourceDown | TimeoutError)
                self._failed(str(error) or f"no answer within {_TIMEOUT:g} s", is_down=is_down)
            except Exception:  # the task must survive, or credentials would end for good
                self.metrics.background_errors.labels(task="credentials").inc()
                logger.exception("the refresh of credentials failed: bucket=%s", self._names)
                self._failed("unexpected error")
            self.tried.set()
            return self.failures == 0

    async def keep_fresh(self) -> None:
        """Refresh at once, and then until cancelled, or until the source has been asked once if that is enough."""
        await self.refresh()
        while self.poll != math.inf:
            await self._until_due(self.pause())
            await self.refresh()

    async def _until_due(self, pause: float | None) -> None:
        """Wait for ``pause`` seconds by COS's clock, or of this machine if that goes back (None: no limit).

        A refusal that allows a refresh ends it.
        """
        now = asyncio.get_running_loop().time
        due = None if pause is None else self.now() + pause
        latest = math.inf if pause is None else now() + pause
        while due is None or (self.now() < due and now() < latest):
            with suppress(TimeoutError):
                # The clock may be corrected meanwhile, so it is read again.
                left = _LOOK_AGAIN if due is None else min(due - self.now(), latest - now())
                async with asyncio.timeout(min(_LOOK_AGAIN, left)):
                    await self._wanted.wait()
                    await asyncio.sleep(self._obeyed_at + self.refusal_pause * (1 + self.random()) - now())
                    self._obeyed_at = now()
                    return

    def pause(self) -> float | None:
        """Return the seconds until the next refresh. None: no refresh before COS refuses the credentials."""
        poll, left, life = self.poll, self.seconds_left, self.life
        if self.failures:
            longest = _LONGEST_RETRY if poll is None else _LONGEST_POLL_RETRY
            return min(longest, _FIRST_RETRY * float(2 ** min(self.failures - 1, 10))) * (0.5 + self.random() / 2)
        if poll is not None:
            return poll
        if left is None or life is None:
            return None
        if self._is_unchanged:
            return max(_FIRST_RETRY, min(_LONGEST_UNCHANGED, left / 10)) * (0.5 + self.random() / 2)
        lead = min(max(_LEAD, _LAST_PART * life), life / 2)
        return max(0.0, left - lead * (1 + self.random() / 10))

    def _take(self, fetched: Credentials) -> None:
        """Use the credentials from now on. Raises ``CredentialsUnavailable`` if they have ended."""
        if fetched.expires_at is not None and fetched.expires_at < self.now() + _LEAST_LEFT:
            raise CredentialsUnavailable(f"the credentials that it gave ended at {fetched.expires_at}")
        if self.failures:
            logger.info("credentials are refreshed again: bucket=%s source=%s", self._names, self.name)
        self.failures = 0
        self._is_unchanged = fetched == self.newest
        if self._is_unchanged:
            if self.poll is None:
                self._count("unchanged")
            return
        self.newest, self._obtained_at, self._has_warned_of_end = fetched, self.now(), False
        self._count("refreshed")
        self.show_end()

    def show_end(self) -> None:
        """Set the metric of the end of the credentials: 0 without any. The metric is absent if they never end."""
        expires_at = self.newest.expires_at if self.newest is not None else 0.0
        for bucket in self.buckets:
            if expires_at is not None:
                self.metrics.credentials_expire.labels(bucket=bucket).set(expires_at)
            else:
                with suppress(KeyError):  # it was never set
                    self.metrics.credentials_expire.remove(bucket)

    def _failed(self, reason: str, *, is_down: bool = False) -> None:
        self._count("failed")
        self.failures += 1
        self.reason, self.is_down = reason, is_down
        left = self.seconds_left
        if left == 0:
            self.has_ended()
            self.show_end()
        elif self.failures == 1:
            how_long = "" if left is None else f" left={left:.0f}s"
            text = "credentials cannot be refreshed, the old ones are used: bucket=%s source=%s%s reason=%s"
            logger.warning(text, self._names, self.name, how_long, reason)

    def _count(self, result: str) -> None:
        self.metrics.credentials_refresh.labels(result=result).inc()


@dataclass(slots=True, eq=False)
class BucketCredentials:
    """Finds the newest COS credentials of a bucket. A bucket without its own source has those of ``default``."""

    default: RotatingCredentials
    own: Mapping[str, RotatingCredentials]
    now: Callable[[], float]

    def replace(self, successor: "BucketCredentials") -> None:
        """Sign with the credentials of ``successor`` from now on."""
        self.default, self.own = successor.default, successor.own
        self.show_ends()

    def show_ends(self) -> None:
        """Set the metric of the end of each bucket's credentials."""
        for credentials in self.all:
            credentials.show_end()

    @property
    def all(self) -> list[RotatingCredentials]:
        """Each source once, the default first."""
        return [self.default, *self.own.values()]

    @property
    def can_end(self) -> bool:
        """Whether the credentials of any source are temporary, or may become so."""
        return any(credentials.seconds_left is not None for credentials in self.all)

    @property
    def shortest_life(self) -> float | None:
        """Seconds from the start to the end of the credentials that live shortest, or None if none ends."""
        return min((credentials.life for credentials in self.all if credentials.life is not None), default=None)

    async def check_life(self) -> None:
        """Return if no credentials are in the last fifth of their life. Raises ``DependencyDown``."""
        for credentials in self.all:
            if credentials.is_near_end:
                left = f"{credentials.seconds_left:.0f} s are left of the credentials from {credentials.name}"
                raise DependencyDown(f"bucket {credentials.buckets[0]}: {left}")

    def of(self, bucket: str) -> Credentials:
        """Return the newest credentials for the bucket. Raises ``NoCredentials`` if there are none, or they ended."""
        rotating = self.own.get(bucket, self.default)
        newest = rotating.newest
        if newest is None or (newest.expires_at is not None and newest.expires_at <= self.now()):
            raise rotating.has_ended()
        return newest

    def refused(self, bucket: str, key: str) -> None:
        """Refresh soon, because the bucket's credentials were refused (``RotatingCredentials.refused``)."""
        self.own.get(bucket, self.default).refused(key)


@asynccontextmanager
async def open_credentials(
    settings: CredentialsSettings,
    buckets: Iterable[str],
    metrics: PresignMetrics,
    *,
    own: Mapping[str, CredentialsSettings] | None = None,
    clock: CosClock,
) -> AsyncIterator[BucketCredentials]:
    """Keep the credentials of ``buckets`` fresh, by ``settings`` or a bucket's ``own`` source."""
    own, now = own or {}, clock.now
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(BoundedHttp())

        def rotating(source: CredentialsSettings, *buckets: str) -> RotatingCredentials:
            fetch, name = source_of(source, http, clock), source.source
            return RotatingCredentials(fetch, name, buckets, metrics, poll=POLL[name], now=now)

        default = rotating(settings, *(bucket for bucket in buckets if bucket not in own))
        credentials = BucketCredentials(default, {bucket: rotating(own[bucket], bucket) for bucket in own}, now)
        for source in credentials.all:
            await stack.enter_async_context(background(f"credentials-{source.buckets[0]}", source.keep_fresh()))
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_TIMEOUT):
                for source in credentials.all:
                    await source.tried.wait()
        yield credentials
