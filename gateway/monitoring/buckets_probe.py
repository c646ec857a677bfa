"""The readiness probe of COS: whether each configured bucket accepts the gateway's signatures."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, CredentialsExpired, DependencyDegraded, OriginUnavailable
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.origin.client import OriginClient, ProbeAnswer
from gateway.origin.cos_errors import CosError, is_refusal

_NEVER: Final = float("-inf")
_TIMEOUT: Final = 1.3  # seconds for a bucket; with the rows less than a probe of the health may take
_ROWS_TIMEOUT: Final = 0.5  # seconds
_ROWS_EVERY: Final = 60.0  # seconds between two reads of rows
_REMEMBERED: Final = 30.0  # seconds that the refusal of a request counts
_NEW: Final = 600.0  # seconds after its start that a signature shows what COS answers to new ones
_OWN_COUNTS: Final = 60.0  # seconds that an accepted probe counts beside requests with old signatures
_SIGNED_FROM: Final = re.compile(r"[?&]q-sign-time=([0-9]{1,12})")
_MOST_ASKED: Final = 4  # objects of a bucket in one probe
_MADE_UP: Final = "image-gateway-probe"  # a key that is asked for where no row names the bucket


@dataclass(slots=True)
class _Bucket:
    """A bucket of COS, and what the probe knows of it. Times are in monotonic seconds.

    accepted: the object that COS accepted in the last probe.
    refusal: COS's answer to the last request if it was refused, until a request is accepted.
    is_doubted: the bucket has refused a signature, and accepted none of a probe since.
    proven_at: when the bucket last accepted the signature of a probe.
    is_unused: the bucket did not exist in the last probe, and no row named it or a bucket that it stands for.
    """

    name: str
    region: str
    accepted: ImageRecord | None = None
    refusal: CosError | None = None
    refused_at: float = _NEVER
    is_doubted: bool = False
    proven_at: float = _NEVER
    is_unused: bool = False


@dataclass(frozen=True, slots=True)
class ObjectQuestions:
    """Asks COS for an object by a presigned URL, and corrects the clock by its answer.

    sign: returns a presigned URL of the object, or raises ``CredentialsExpired``.
    correct_clock: gets COS's time (Unix seconds) after a refusal, and returns whether that changed the clock.
    now: returns the time by which URLs are signed.
    """

    origin: OriginClient
    sign: Callable[[ImageRecord], str]
    correct_clock: Callable[[float | None], bool]
    now: Callable[[], float]

    async def ask(self, image: ImageRecord) -> ProbeAnswer:
        """Return COS's answer to a request for the first byte. Raises ``OriginUnavailable`` without an answer."""
        answer = await self.origin.diagnose(self.sign(image))
        if is_refusal(answer.error) and self.correct_clock(answer.error.date):
            answer = await self.origin.diagnose(self.sign(image))
        return answer

    def is_new(self, url: str) -> bool:
        """Return whether the URL was signed lately."""
        signed = _SIGNED_FROM.search(url)
        return signed is not None and self.now() - int(signed[1]) < _NEW


@dataclass(slots=True)
class BucketsProbe:
    """Readiness probe of COS's buckets. ``regions`` maps each bucket to its region, the default bucket first.

    A bucket works if it has accepted a new signature of a request since the last probe. It fails for 30 seconds after
    it has refused requests and accepted no request. Otherwise COS is asked for the first byte of an object by a newly
    presigned URL: of the object that the bucket accepted in the last probe, else of objects of rows, else of a made-up
    key. So COS is asked also after it has refused some requests and accepted others: after a rotation of the key, URLs
    that were signed before may work while each new URL is refused. A missing object shows as much as an existing
    object. A policy may deny some keys: ``AccessDenied`` is no failure if another object is accepted, and the answer to
    a made-up key shows only that the signature is right. The default bucket may be gone while no row names it: rows of
    buckets without settings, which its credentials sign for, are asked for in its place.

    sample: returns some rows of the table, or raises ``CatalogUnavailable``.
    observe: gets the time of the default bucket.

    ``may_serve`` is false until a bucket has accepted a signature, or did not answer: a configuration with a wrong key
    does not replace a configuration that works, and COS that is down keeps no gateway from its start.
    With several buckets, each bucket has the metric of the dependency ``cos:<bucket>``.
    """

    questions: ObjectQuestions
    regions: Mapping[str, str]
    metrics: MonitoringMetrics
    _: KW_ONLY
    sample: Callable[[], Awaitable[Sequence[ImageRecord]]]
    observe: Callable[[float | None], None]
    timeout: float = _TIMEOUT
    monotonic: Callable[[], float] = time.monotonic
    may_serve: bool = field(default=False, init=False)
    _buckets: list[_Bucket] = field(init=False)
    _rows: Sequence[ImageRecord] = field(default=(), init=False)
    _rows_read_at: float = field(default=_NEVER, init=False)

    def __post_init__(self) -> None:
        self._buckets = [_Bucket(name, region) for name, region in self.regions.items()]

    async def probe(self) -> None:
        """Raise ``OriginUnavailable`` if a bucket does not answer, ``DependencyDegraded`` if it refuses the gateway."""
        accepted, refused = self.questions.origin.observed.take_verdicts()  # on the requests of clients
        now = self.monotonic()
        for bucket in self._buckets:
            if bucket.name in refused:
                bucket.refusal, bucket.refused_at = refused[bucket.name], now
            if bucket.refusal is not None and bucket.name in accepted:
                bucket.refusal, bucket.is_doubted = None, True
        unproven = [bucket for bucket in self._buckets if not self._is_proven(bucket, accepted.get(bucket.name), now)]
        if any(bucket.accepted is None for bucket in unproven):
            await self._read_rows()
        found = await asyncio.gather(*map(self._try, unproven))
        problems = {bucket.name: error for bucket, error in zip(unproven, found, strict=True) if error is not None}
        if len(self._buckets) > 1:
            for bucket in self._buckets:
                self.metrics.dependency_up.labels(dependency=f"cos:{bucket.name}").set(bucket.name not in problems)
        refusals = sum(isinstance(error, DependencyDegraded) for error in problems.values())
        if refusals < len(self._buckets) - sum(bucket.is_unused for bucket in unproven):
            self.may_serve = True
        if problems:
            reason = "; ".join(f"bucket {name}: {error}" for name, error in problems.items())
            raise (DependencyDegraded if refusals == len(problems) else OriginUnavailable)(reason)

    def _is_proven(self, bucket: _Bucket, accepted: str | None, now: float) -> bool:
        """Return whether requests show that the bucket accepts new signatures. ``accepted`` is a URL of a request."""
        if accepted is None or bucket.is_doubted:
            return False
        return self.questions.is_new(accepted) or now - bucket.proven_at < _OWN_COUNTS

    async def _read_rows(self) -> None:
        now = self.monotonic()
        if now - self._rows_read_at < _ROWS_EVERY:
            return
        self._rows_read_at = now
        with suppress(CatalogUnavailable, TimeoutError):  # Postgres has its own probe
            async with asyncio.timeout(_ROWS_TIMEOUT):
                self._rows = await self.sample()

    async def _try(self, bucket: _Bucket) -> DependencyDegraded | OriginUnavailable | None:
        """Return why requests to the bucket fail, or None if they work, or if no image needs it."""
        bucket.is_unused = False
        if bucket.refusal is not None and self.monotonic() - bucket.refused_at < _REMEMBERED:
            return DependencyDegraded(bucket.refusal)
        try:
            async with asyncio.timeout(self.timeout):
                await self._ask(bucket)
        except TimeoutError:
            return OriginUnavailable(f"no answer within {self.timeout:g} s")
        except CredentialsExpired as error:
            return DependencyDegraded(error)
        except DependencyDegraded as error:
            bucket.is_doubted = True
            return error
        except OriginUnavailable as error:
            return error
        bucket.is_doubted, bucket.proven_at = False, self.monotonic()
        return None

    async def _ask(self, bucket: _Bucket) -> None:
        """Return if the bucket accepts a signature or is unused, else raise what ``_try`` returns."""
        known, bucket.accepted = bucket.accepted, None
        is_default = bucket is self._buckets[0]
        images = [] if known is None else [known]
        images += [row for row in self._rows if row.bucket == bucket.name][:_MOST_ASKED]
        made_up = ImageRecord("probe", None, False, bucket.name, bucket.region, _MADE_UP, content_type=None)
        if not images:
            images.append(made_up)
            if is_default:  # its credentials sign for these, which show that they are right if it is gone
                images += [row for row in self._rows if row.bucket not in self.regions][:_MOST_ASKED]
        for image in images:
            error = (await self.questions.ask(image)).error
            if is_default:
                self.observe(error.date)
            is_denied = error.code == "AccessDenied" and not error.is_expired
            refuses = False if error.status in (200, 206) else is_refusal(error)
            if refuses is False or (is_denied and image is made_up):
                bucket.accepted = image if image is not made_up and image.bucket == bucket.name else None
                return
            if is_default and image is made_up and self._rows and error.code == "NoSuchBucket":
                if image is images[-1]:
                    bucket.is_unused = True
                    return
                continue
            if image.bucket == bucket.name and (refuses is None or error.code != "AccessDenied"):
                break  # the answer is the same for every object
        what = error if image.bucket == bucket.name else f"{error} to a row of bucket {image.bucket}"
        raise (DependencyDegraded if refuses else OriginUnavailable)(what)
