"""The readiness probe of COS: whether each configured bucket accepts the gateway's signatures."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from gateway.catalog.record import ImageRecord
from gateway.errors import CatalogUnavailable, CredentialsExpired, DependencyDegraded, OriginUnavailable
from gateway.monitoring.metrics import MonitoringMetrics
from gateway.origin.client import OriginClient, ProbeAnswer
from gateway.origin.cos_errors import CosError, is_refusal

_TIMEOUT: Final = 1.3  # seconds for a bucket; with the rows less than a probe of the health may take
_ROWS_TIMEOUT: Final = 0.5  # seconds
_ROWS_EVERY: Final = 60.0  # seconds between two reads of rows
_REMEMBERED: Final = 30.0  # seconds that the refusal of a request counts
_NEW: Final = 600.0  # seconds after its start that a signature shows what COS answers to new ones
_OWN_COUNTS: Final = 60.0  # seconds that an accepted probe counts beside requests with old signatures
_SIGNED_FROM: Final = re.compile(r"[?&]q-sign-time=([0-9]{1,12})")
_MOST_ASKED: Final = 4  # objects of a bucket in one probe
_MADE_UP: Final = "image-gateway-probe"  # a key that is asked for where no row names the bucket


class _Problem(NamedTuple):
    reason: str
    is_refusal: bool


class _Refusal(NamedTuple):
    error: CosError
    at: float  # monotonic seconds


class ObjectQuestions:
    """Asks COS for an object by a presigned URL, and corrects the clock by its answer.

    sign: returns a presigned URL of the object, or raises ``CredentialsExpired``.
    correct_clock: gets COS's time (Unix seconds) after a refusal, and returns whether that changed the clock.
    now: returns the time by which URLs are signed.
    """

    def __init__(
        self,
        origin: OriginClient,
        sign: Callable[[ImageRecord], str],
        correct_clock: Callable[[float | None], bool],
        now: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._sign = sign
        self._correct_clock = correct_clock
        self._now = now
        self.take_verdicts = origin.observed.take_verdicts  # on the requests of clients

    async def ask(self, image: ImageRecord) -> ProbeAnswer:
        """Return COS's answer to a request for the first byte. Raises ``OriginUnavailable`` without an answer."""
        answer = await self._origin.diagnose(self._sign(image))
        if is_refusal(answer.error) and self._correct_clock(answer.error.date):
            answer = await self._origin.diagnose(self._sign(image))
        return answer

    def is_new(self, url: str) -> bool:
        """Return whether the URL was signed lately."""
        signed = _SIGNED_FROM.search(url)
        return signed is not None and self._now() - int(signed[1]) < _NEW


class BucketsProbe:
    """Probes the buckets of ``regions``, which maps each bucket to its region, the default bucket first.

    A bucket works if it has accepted a new signature of a request since the last probe. It fails for 30 seconds after
    it has refused requests and accepted no request. Otherwise COS is asked for the first byte of an object by a newly
    presigned URL: of the object that the bucket accepted in the last probe, else of objects of rows, else of a made-up
    key. So COS is asked also after it has refused some requests and accepted others: after a rotation of the key, URLs
    that were signed before may work while each new URL is refused. A missing object shows as much as an existing
    object. A policy may deny some keys: ``AccessDenied`` is no failure if another object is accepted, and the answer to
    a made-up key shows only that the signature is right.

    sample: returns some rows of the table, or raises ``CatalogUnavailable``.
    observe: gets the time of the default bucket.

    ``may_serve`` is false until a bucket has accepted a signature, or did not answer: a configuration with a wrong key
    does not replace a configuration that works, and COS that is down keeps no gateway from its start.

    With several buckets, each bucket has the metric of the dependency ``cos:<bucket>``.
    """

    def __init__(
        self,
        questions: ObjectQuestions,
        regions: Mapping[str, str],
        metrics: MonitoringMetrics,
        *,
        sample: Callable[[], Awaitable[Sequence[ImageRecord]]],
        observe: Callable[[float | None], None],
        timeout: float = _TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._questions = questions
        self._regions = regions
        self._metrics = metrics
        self._sample = sample
        self._observe = observe
        self._timeout = timeout
        self._monotonic = monotonic
        self.may_serve = False  # since a bucket has accepted a signature or did not answer
        self._rows: Sequence[ImageRecord] = ()
        self._rows_read_at = float("-inf")
        self._known: dict[str, ImageRecord] = {}  # by bucket: the object that COS accepted last
        self._refusals: dict[str, _Refusal] = {}  # by bucket: the last refusal of a request, until one is accepted
        self._doubted: set[str] = set()  # buckets that refused a signature, until they accept one of a probe
        self._proven_at: dict[str, float] = {}  # by bucket: when it last accepted the signature of a probe

    async def probe(self) -> None:
        """Return if every bucket works.

        Raises ``OriginUnavailable`` with the reasons if a bucket does not answer, and ``DependencyDegraded`` if buckets
        refuse the gateway.
        """
        accepted, refused = self._questions.take_verdicts()
        now = self._monotonic()
        self._refusals |= {bucket: _Refusal(error, now) for bucket, error in refused.items()}
        for bucket in self._refusals.keys() & accepted.keys():
            del self._refusals[bucket]
            self._doubted.add(bucket)
        unproven = [bucket for bucket in self._regions if not self._is_proven(bucket, accepted.get(bucket), now)]
        if not self._known.keys() >= set(unproven):
            await self._read_rows()
        found = await asyncio.gather(*map(self._try, unproven))
        problems = {bucket: problem for bucket, problem in zip(unproven, found, strict=True) if problem is not None}
        if len(self._regions) > 1:
            for bucket in self._regions:
                self._metrics.dependency_up.labels(dependency=f"cos:{bucket}").set(bucket not in problems)
        refusals = [bucket for bucket, problem in problems.items() if problem.is_refusal]
        if len(refusals) < len(self._regions):
            self.may_serve = True
        if problems:
            reason = "; ".join(f"bucket {bucket}: {problem.reason}" for bucket, problem in problems.items())
            raise (DependencyDegraded if len(refusals) == len(problems) else OriginUnavailable)(reason)

    def _is_proven(self, bucket: str, accepted: str | None, now: float) -> bool:
        """Return whether requests show that the bucket accepts new signatures. ``accepted`` is a URL of a request."""
        if accepted is None or bucket in self._doubted:
            return False
        return self._questions.is_new(accepted) or now - self._proven_at.get(bucket, float("-inf")) < _OWN_COUNTS

    async def _read_rows(self) -> None:
        now = self._monotonic()
        if now - self._rows_read_at < _ROWS_EVERY:
            return
        self._rows_read_at = now
        try:
            async with asyncio.timeout(_ROWS_TIMEOUT):
                self._rows = await self._sample()
        except (CatalogUnavailable, TimeoutError):  # Postgres has its own probe
            return

    async def _try(self, bucket: str) -> _Problem | None:
        """Return why requests to the bucket fail, or None if they work."""
        refusal = self._refusals.get(bucket)
        if refusal is not None and self._monotonic() - refusal.at < _REMEMBERED:
            return _Problem(str(refusal.error), True)
        try:
            async with asyncio.timeout(self._timeout):
                problem = await self._ask(bucket)
        except TimeoutError:
            return _Problem(f"no answer within {self._timeout:g} s", False)
        except CredentialsExpired as error:
            return _Problem(str(error), True)
        except OriginUnavailable as error:
            return _Problem(str(error), False)
        if problem is None:
            self._doubted.discard(bucket)
            self._proven_at[bucket] = self._monotonic()
        elif problem.is_refusal:
            self._doubted.add(bucket)
        return problem

    async def _ask(self, bucket: str) -> _Problem | None:
        known = self._known.pop(bucket, None)
        rows = [] if known is None else [known]
        rows += [row for row in self._rows if row.bucket == bucket][:_MOST_ASKED]
        if not rows:
            error = await self._answer_to(
                ImageRecord("probe", None, False, bucket, self._regions[bucket], _MADE_UP, content_type=None)
            )
            is_denied = error.code == "AccessDenied" and not error.is_expired
            refuses = _refuses(error)
            return None if refuses is False or is_denied else _Problem(str(error), refuses is True)
        for image in rows:
            error = await self._answer_to(image)
            refuses = _refuses(error)
            if refuses is False:
                self._known[bucket] = image
                return None
            if refuses is None or error.code != "AccessDenied":
                break  # the answer is the same for every object
        return _Problem(str(error), refuses is True)

    async def _answer_to(self, image: ImageRecord) -> CosError:
        answer = await self._questions.ask(image)
        if image.bucket == next(iter(self._regions)):
            self._observe(answer.error.date)
        return answer.error


def _refuses(answer: CosError) -> bool | None:
    """Return whether COS refuses the gateway, or None if the answer says nothing about that."""
    return False if answer.status in (200, 206) else is_refusal(answer)
