"""The credentials of each bucket: builds the configured sources, and holds their newest sets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from gateway.concurrency.background import background
from gateway.errors import DependencyDown
from gateway.presign.credentials import Credentials, Source
from gateway.presign.credentials.file import FileSource
from gateway.presign.credentials.instance_role import InstanceRoleSource
from gateway.presign.credentials.rotation import RotatingCredentials
from gateway.presign.credentials.sts import AssumeRoleSource, TkeOidcSource
from gateway.presign.metrics import PresignMetrics
from gateway.settings import (
    AssumeRoleCredentialsSettings,
    CosSettings,
    CredentialsSettings,
    CvmRoleCredentialsSettings,
    EnvironmentCredentialsSettings,
    FileCredentialsSettings,
    StaticCredentialsSettings,
)
from gateway.tencent_api.bounded_http import BoundedHttp

_FIRST_TIMEOUT: Final = 3.0  # seconds that a start waits for the sources; it then continues without credentials


class FixedSource:
    """One set of credentials; a token among them may still end."""

    poll: float | None = None

    def __init__(self, name: str, credentials: Credentials) -> None:
        self.name = name
        self._credentials = credentials

    async def fetch(self) -> Credentials:
        return self._credentials


class BucketCredentials:
    """The newest credentials by bucket. A bucket without its own source has the credentials of ``default``.

    ``newest``: the credentials of the configured buckets, to be read without a call. They may have ended.
    """

    def __init__(
        self,
        default: RotatingCredentials,
        own: Mapping[str, RotatingCredentials],
        now: Callable[[], float],
        newest: Mapping[str, Credentials],
    ) -> None:
        self._now = now
        self.newest = newest
        self._default = default
        self._own = own

    def replace(self, successor: "BucketCredentials") -> None:
        """Sign with the credentials of ``successor`` from now on."""
        self._default, self._own, self.newest = successor._default, successor._own, successor.newest  # noqa: SLF001
        self.show_ends()

    def show_ends(self) -> None:
        """Set the metric of the end of each bucket's credentials."""
        for credentials in self.all:
            credentials.show_end()

    @property
    def all(self) -> list[RotatingCredentials]:
        """Each source once, the default first."""
        return [self._default, *self._own.values()]

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
                raise DependencyDown(
                    f"bucket {credentials.buckets[0]}: {credentials.seconds_left:.0f} s are left of the credentials"
                    f" from {credentials.name}"
                )

    def of(self, bucket: str) -> Credentials:
        """Return the newest credentials for the bucket. Raises ``NoCredentials`` if there are none, or they ended."""
        rotating = self._own.get(bucket, self._default)
        newest = rotating.newest
        if newest is None or (newest.expires_at is not None and newest.expires_at <= self._now()):
            raise rotating.has_ended()
        return newest

    def refused(self, bucket: str, url: str) -> None:
        """Refresh soon: COS does not know the credentials that signed ``url``."""
        self._own.get(bucket, self._default).refused(url)

    def refused_key(self, bucket: str, secret_id: str) -> None:
        """Refresh soon, because a service refuses the bucket's key with that id."""
        self._own.get(bucket, self._default).refused_key(secret_id)


@asynccontextmanager
async def open_credentials(
    settings: CosSettings, metrics: PresignMetrics, *, now: Callable[[], float] = time.time
) -> AsyncIterator[BucketCredentials]:
    """Keep the credentials of every source fresh. ``now`` is COS's clock in Unix seconds.

    A start waits at most three seconds for the sources.
    """
    own = settings.own_sources
    buckets = [bucket for bucket in settings.regions if bucket not in own]
    async with _kept_fresh(settings.source, buckets, own, metrics, now) as credentials:
        yield credentials


@asynccontextmanager
async def open_source(
    settings: CredentialsSettings, name: str, metrics: PresignMetrics, *, now: Callable[[], float] = time.time
) -> AsyncIterator[BucketCredentials]:
    """Refresh the credentials of a source that does not belong to a bucket. Metrics and logs call it ``name``."""
    async with _kept_fresh(settings, [name], {}, metrics, now) as credentials:
        yield credentials


@asynccontextmanager
async def _kept_fresh(
    default: CredentialsSettings,
    buckets: Sequence[str],
    own: Mapping[str, CredentialsSettings],
    metrics: PresignMetrics,
    now: Callable[[], float],
) -> AsyncIterator[BucketCredentials]:
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(BoundedHttp())

        def rotating(source: CredentialsSettings, buckets: Sequence[str]) -> RotatingCredentials:
            return RotatingCredentials(_source(source, http, now), buckets, metrics, now=now, by_bucket=newest)

        newest = dict[str, Credentials]()
        of_own = {bucket: rotating(source, [bucket]) for bucket, source in own.items()}
        credentials = BucketCredentials(rotating(default, buckets), of_own, now, newest)
        for source_credentials in credentials.all:
            if isinstance(source_credentials.source, FixedSource):
                await source_credentials.refresh()
            else:
                await stack.enter_async_context(
                    background(f"credentials-{source_credentials.buckets[0]}", source_credentials.keep_fresh())
                )
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_TIMEOUT):
                for source_credentials in credentials.all:
                    await source_credentials.tried.wait()
        yield credentials


def _source(settings: CredentialsSettings, http: BoundedHttp, now: Callable[[], float]) -> Source:
    """Return the source that ``settings`` describe."""
    if isinstance(settings, StaticCredentialsSettings):
        return _static(settings)
    if isinstance(settings, EnvironmentCredentialsSettings):
        secret_id, secret_key, token = settings.values()
        found = token.get_secret_value() if token is not None else None
        return FixedSource(
            "environment", Credentials(secret_id.get_secret_value(), secret_key.get_secret_value(), found)
        )
    if isinstance(settings, FileCredentialsSettings):
        return FileSource(settings.path)
    if isinstance(settings, CvmRoleCredentialsSettings):
        return InstanceRoleSource(http, settings.metadata_url, settings.role)
    if isinstance(settings, AssumeRoleCredentialsSettings):
        return AssumeRoleSource(http, settings, _source(settings.base, http, now), now=now)
    return TkeOidcSource(http, settings, now=now)


def _static(settings: StaticCredentialsSettings) -> FixedSource:
    if settings.secret_id is None or settings.secret_key is None:
        raise ValueError("the static source has no keys")  # the settings model refuses that
    token = settings.token.get_secret_value() if settings.token is not None else None
    secret_id, secret_key = settings.secret_id.get_secret_value(), settings.secret_key.get_secret_value()
    return FixedSource("static", Credentials(secret_id, secret_key, token, settings.token_expires_at))
