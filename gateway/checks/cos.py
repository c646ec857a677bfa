"""Findings on COS: objects of each bucket, objects that are refused by their prefix, the clock, and variants."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.catalog.record import ImageRecord
from gateway.checks.cos_advice import (
    ADVICE,
    CLOCK,
    NO_ANSWER,
    advice_for,
    advice_on_head,
    advice_without_answer,
    key_problem,
)
from gateway.checks.finding import Finding, warning
from gateway.errors import CredentialsExpired, GatewayError
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import CosError
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.presign.url_lifetime import CLOCK_TOLERANCE, CosClock, Lifetime

_FIRST_BYTE: Mapping[str, str] = {"Range": "bytes=0-0"}
_NO_HEADERS: Mapping[str, str] = {}
# The answer to another object of the bucket may be another one.
_OF_OBJECTS: Final = frozenset({"AccessDenied", "InvalidObjectState", "NoSuchKey", "UnavailableForLegalReasons"})
_MOST_PREFIXES: Final = 3  # named in a finding
_VARIANTS: Final[Mapping[str, str]] = {
    "webp": "look at the style's process; COS document 44880 lists the operations",
    "avif": "switch AVIF on for the bucket (COS console, data processing; 1246/109218), or take it out of the formats",
}


class _Asked(NamedTuple):
    """An image, and COS's answer to the GET of its first byte. None if COS did not answer."""

    image: ImageRecord
    answer: CosError | None

    @property
    def is_read(self) -> bool:
        """Whether COS sent the byte."""
        return self.answer is not None and self.answer.status in (200, 206)


@dataclass(slots=True)
class CosCheck:
    """Asks for objects by URLs as the gateway signs them. ``clock`` is corrected if COS refuses their time."""

    origin: OriginClient
    signer: Signer
    lifetime: Lifetime
    hosts: Hosts
    clock: CosClock
    _difference: float | None = field(default=None, init=False)  # seconds that COS's clock is ahead, at first
    _is_clock_refused: bool = field(default=False, init=False)

    async def findings(
        self, images: Sequence[ImageRecord], buckets: Mapping[str, str], no_image_reason: str
    ) -> AsyncIterator[Finding]:
        """Yield findings on each bucket of ``images``, on other ``buckets`` (with their regions), and on the clock.

        COS is asked for a made-up key of each of ``buckets`` that no row names. The first of ``buckets`` is the default
        bucket. COS is asked for a made-up key of it only without ``images``, of which ``no_image_reason`` is the cause.
        """
        places: dict[tuple[str, str], list[ImageRecord]] = {}
        for image in images:
            places.setdefault((image.bucket, image.region), []).append(image)
        for of_bucket in places.values():
            async for finding in self._of_bucket(of_bucket):
                yield finding
        named = {image.bucket for image in images}
        for number, (bucket, region) in enumerate(buckets.items()):
            if bucket not in named and not (images and number == 0):
                made_up = ImageRecord("check", None, False, bucket, region, key="check", content_type=None)
                yield await self._of_unnamed(made_up, "no row names it" if images else no_image_reason)
        if self._difference is None or self._is_clock_refused:  # no answer had a date, or a bucket's finding says it
            return
        if abs(self._difference) >= CLOCK_TOLERANCE:
            yield warning("clock", f"{_clock(self._difference)} by COS's clock", CLOCK)
        else:
            yield Finding("clock", True, f"within {CLOCK_TOLERANCE} s of COS's")

    async def _of_bucket(self, images: Sequence[ImageRecord]) -> AsyncIterator[Finding]:
        """Yield findings on the bucket of ``images``, of which there is at least one.

        If the answer to the first image would be the same for every image, no other image is asked for.
        """
        name, place = f"cos {images[0].bucket}", self._place(images[0])
        first = await self._try(images[0], name, place)
        if isinstance(first, Finding):
            yield first
            return
        if first.status not in (200, 206) and first.code not in _OF_OBJECTS:
            what = f"COS answered {_words(first)} {place}, row {images[0].image_id}"
            yield Finding(name, False, what, advice_for(first, images[0].key), stops_start=first.status < 500)
            return
        asked = [_Asked(images[0], first), *await asyncio.gather(*map(self._first_byte, images[1:]))]
        read = [row for row in asked if row.is_read]
        if read:
            yield await self._head(read[0], name, place, len(read))
        refused: dict[str, list[_Asked]] = {}
        for row in asked:
            if not row.is_read:
                refused.setdefault(_words(row.answer) if row.answer is not None else "", []).append(row)
        for words, rows in refused.items():
            yield _of_refused(words, rows, asked, name, place)

    async def _of_unnamed(self, image: ImageRecord, why: str) -> Finding:
        """Return a finding on the bucket of the made-up ``image``. ``why``: the reason for having no image of a row."""
        name, place = f"cos {image.bucket}", self._place(image)
        answer = await self._try(image, name, place)
        if isinstance(answer, Finding):
            return answer
        accepted = f"the signature was accepted {place}; {why}"
        if answer.code == "NoSuchKey":
            return Finding(name, True, accepted)
        if answer.code == "AccessDenied":
            # The answer to a missing object if the credentials may not list, which the gateway does not need.
            return warning(name, f"{accepted}, so that it is not known whether objects may be read", "add an image")
        advice = advice_for(answer)
        return Finding(name, False, f"COS answered {_words(answer)} {place}", advice, stops_start=answer.status < 500)

    async def _try(self, image: ImageRecord, name: str, place: str) -> CosError | Finding:
        """Return the answer to the GET of the first byte, or the finding if it says nothing about objects."""
        try:
            answer = await self._ask(image)
            if answer.status in (400, 403) and self.clock.refused_at(answer.date):
                again = await self._ask(image)
                if again.status not in (400, 403):
                    self._is_clock_refused = True
                    what = f"COS refuses the time of the signature: {_clock(self._difference or 0.0)}"
                    return Finding(name, False, what, CLOCK)
                answer = again
        except CredentialsExpired as error:
            return Finding(name, False, str(error), ADVICE["ExpiredToken"], stops_start=True)
        except GatewayError as error:
            return Finding(name, False, f"no answer {place}: {error}", advice_without_answer(error))
        return answer

    async def _head(self, row: _Asked, name: str, place: str, count: int) -> Finding:
        get, where = row.answer.status if row.answer is not None else 0, f"{place}, row {row.image.image_id}"
        try:
            head = await self._ask(row.image, "HEAD", _NO_HEADERS)
        except GatewayError as error:
            return Finding(name, False, f"no answer to HEAD {place}: {error}", advice_without_answer(error))
        if head.status != 200:
            what = f"GET {get}, but HEAD {head.status} {where}"
            return Finding(name, False, what, advice_on_head(head))
        others = f", and GET of {count - 1} other rows" if count > 1 else ""
        return Finding(name, True, f"GET {get} and HEAD {head.status} {where}{others}")

    async def _first_byte(self, image: ImageRecord) -> _Asked:
        try:
            return _Asked(image, await self._ask(image))
        except GatewayError:
            return _Asked(image, None)

    async def _ask(self, image: ImageRecord, method: str = "GET", headers: Mapping[str, str] = _FIRST_BYTE) -> CosError:
        presigned = self.signer.sign(image, method=method)
        if not self.lifetime.is_usable(presigned, self.clock.now()):
            raise CredentialsExpired("the credentials end too soon for any URL to be usable")
        answer = (await self.origin.diagnose(presigned.url, method, headers)).error
        if self._difference is None and answer.date is not None:
            self._difference = answer.date - time.time()
        return answer

    def _place(self, image: ImageRecord) -> str:
        return f"at {self.hosts.origin_of(image.bucket, image.region).base}"


async def check_variants(
    origin: OriginClient, signer: Signer, renditions: Renditions, image: ImageRecord
) -> AsyncIterator[Finding]:
    """Yield a finding for each of two formats that a style lists, of its narrowest rendition.

    A refusal is a warning, since the gateway sends another format or the original then.
    """
    for image_format, advice in _VARIANTS.items():
        found = [rendition for rendition in map(renditions.get, renditions.names) if rendition.format == image_format]
        if not found:
            continue
        rendition = min(found, key=lambda rendition: rendition.width or 0).name
        name = f"variant {rendition}"
        try:
            response = await origin.fetch(signer.sign(image, rendition).url)
        except GatewayError as error:
            yield warning(name, f"COS does not make it of row {image.image_id}: {error}", advice)
            continue
        response.close()
        if (made := response.head.metadata.content_type) == f"image/{image_format}":
            yield Finding(name, True, f"COS made it of row {image.image_id}")
        else:
            yield warning(name, f"COS made {made or 'no type'} of row {image.image_id}", advice)


def _of_refused(words: str, rows: Sequence[_Asked], asked: Sequence[_Asked], name: str, place: str) -> Finding:
    """Return the finding on ``rows``, which got the same answer. ``asked`` are all rows of the bucket."""
    image = rows[0].image
    answer = rows[0].answer
    code = answer.code if answer is not None else None
    counts = Counter(_prefix(row.image) for row in rows)
    where = ", ".join(_below(prefix, count, asked) for prefix, count in counts.most_common(_MOST_PREFIXES))
    if len(counts) > _MOST_PREFIXES:
        where += f", and {len(counts) - _MOST_PREFIXES} other prefixes"
    is_all = len(rows) == len(asked)
    what = f"{f'COS answered {words}' if words else 'no answer'} {place}"
    if len(asked) > 1:
        what += f" to {len(rows)} of {len(asked)} rows: {where}, such as"
    what += f"{',' if len(asked) == 1 else ''} row {image.image_id}"
    advice = NO_ANSWER if answer is None else advice_for(answer, image.key)
    if code in ("AccessDenied", "NoSuchKey") and (problem := key_problem(image.key)) is not None:
        what += f", whose key {problem}"
    elif code == "AccessDenied" and not is_all:
        prefixes = ", ".join(f"{prefix}*" for prefix, _ in counts.most_common(_MOST_PREFIXES))
        advice = f"allow the credentials GetObject on {prefixes}, or the right to list if these objects are missing"
    if code in ("InvalidObjectState", "NoSuchKey", "UnavailableForLegalReasons") and not is_all:
        return warning(name, what, advice)
    return Finding(name, False, what, advice, stops_start=is_all and code == "AccessDenied")


def _below(prefix: str, count: int, asked: Sequence[_Asked]) -> str:
    total = sum(_prefix(row.image) == prefix for row in asked)
    return f"{count} of {total} {f'below {prefix}' if prefix else 'without a prefix'}"


def _prefix(image: ImageRecord) -> str:
    """Return the first segment of the key with its slash. Empty for a key without a slash."""
    first, slash, _ = image.key.removeprefix("/").partition("/")
    return first + slash if slash else ""


def _clock(difference: float) -> str:
    return f"the clock of this machine is {abs(difference):.0f} s {'slow' if difference > 0 else 'fast'}"


def _words(answer: CosError) -> str:
    return f"{answer.status} {answer.code}" if answer.code is not None else str(answer.status)
