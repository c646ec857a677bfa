"""Findings on COS: an object of each bucket by GET and HEAD, and the clock."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.checks.cos_advice import ADVICE, CLOCK, NO_ANSWER, advice_for
from gateway.checks.finding import Finding, warning
from gateway.errors import CredentialsExpired, GatewayError

CLOCK_TOLERANCE = 30  # seconds that this machine's clock may differ from COS's
_FIRST_BYTE: Mapping[str, str] = {"Range": "bytes=0-0"}
_NO_HEADERS: Mapping[str, str] = {}


class Answer(Protocol):
    """COS's answer to one request."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def code(self) -> str | None:
        """Code in the body of an error; None if there is none."""
        ...

    @property
    def date(self) -> float | None:
        """COS's time in Unix seconds; None if the answer has none."""
        ...

    @property
    def clock(self) -> float | None:
        """COS's time in Unix seconds if COS refused because of the clock; None otherwise."""
        ...


class Origin(Protocol):
    """The part of the COS client that a diagnosis uses."""

    async def diagnose(self, url: str, method: str, headers: Mapping[str, str]) -> Answer:
        """Return COS's answer to a presigned URL; raises ``OriginUnavailable``."""
        ...


class CosCheck:
    """Asks for objects.

    ``presign`` is given a record and a method; it may raise ``CredentialsExpired``. ``host_of`` is the host that serves
    a record's bucket. ``now`` is this machine's clock in Unix seconds.
    """

    def __init__(
        self,
        origin: Origin,
        presign: Callable[[ImageRecord, str], str],
        host_of: Callable[[ImageRecord], str],
        now: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._presign = presign
        self._host_of = host_of
        self._now = now
        self._difference: float | None = None  # seconds that COS's clock is ahead, by its first answer
        self._is_clock_refused = False

    async def bucket(self, image: ImageRecord, no_image_reason: str | None = None) -> Finding:
        """Return a finding on the image's bucket; ``no_image_reason``: why ``image`` is made up, None if it is not."""
        name, place = f"cos {image.bucket}", f"at {self._host_of(image)}"
        try:
            got = await self._ask(image, "GET", _FIRST_BYTE)
            head = await self._ask(image, "HEAD", _NO_HEADERS)
        except CredentialsExpired as error:
            return Finding(name, False, str(error), ADVICE["ExpiredToken"])
        except GatewayError as error:
            return Finding(name, False, f"no answer {place}: {error}", NO_ANSWER)
        difference = self._difference or 0.0
        if got.clock is not None and abs(difference) >= CLOCK_TOLERANCE:
            self._is_clock_refused = True
            return Finding(name, False, f"COS refuses the time of the signature: {_clock(difference)}", CLOCK)
        if got.status not in (200, 206):
            if got.code == "NoSuchKey" and no_image_reason is not None:
                return Finding(name, True, f"the signature was accepted {place}; {no_image_reason}")
            code = f" {got.code}" if got.code is not None else ""
            return Finding(name, False, f"COS answered {got.status}{code} {place}, row {image.image_id}", _advice(got))
        if head.status != 200:
            what = f"GET {got.status}, but HEAD {head.status} {place}, row {image.image_id}"
            return Finding(name, False, what, "allow the credentials HeadObject on the bucket")
        return Finding(name, True, f"GET {got.status} and HEAD {head.status} {place}, row {image.image_id}")

    def clock(self) -> Finding | None:
        """Return a finding on this machine's clock; None if no answer had a date, or a bucket's finding says it."""
        if self._difference is None or self._is_clock_refused:
            return None
        if abs(self._difference) >= CLOCK_TOLERANCE:
            return warning("clock", f"{_clock(self._difference)} by COS's clock", CLOCK)
        return Finding("clock", True, f"within {CLOCK_TOLERANCE} s of COS's")

    async def _ask(self, image: ImageRecord, method: str, headers: Mapping[str, str]) -> Answer:
        answer = await self._origin.diagnose(self._presign(image, method), method, headers)
        if self._difference is None and answer.date is not None:
            self._difference = answer.date - self._now()
        return answer


async def check_cos(
    check: CosCheck, images: list[ImageRecord], made_up: list[ImageRecord], no_image_reason: str
) -> AsyncIterator[Finding]:
    """Yield a finding for each bucket of ``images`` and of ``made_up``; then the clock.

    ``no_image_reason`` says why there are no ``images``; if there are some, no row names the buckets of ``made_up``.
    """
    for image in images:
        yield await check.bucket(image)
    for image in made_up:
        yield await check.bucket(image, "no row names it" if images else no_image_reason)
    if (clock := check.clock()) is not None:
        yield clock


def _clock(difference: float) -> str:
    return f"the clock of this machine is {abs(difference):.0f} s {'slow' if difference > 0 else 'fast'}"


def _advice(answer: Answer) -> str:
    return advice_for(answer.code)
