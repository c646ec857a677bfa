"""Findings on COS: objects of each bucket, objects that are refused by their prefix, the clock, and variants."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired, GatewayError, NoCredentials
from gateway.findings.finding import Finding, well
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import REFUSALS, THROTTLED_STATUSES, CosError, PresignedUrlRefused
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.presign.style_variants import Renditions
from gateway.presign.url_lifetime import CLOCK_TOLERANCE, CosClock, Lifetime

_FIRST_BYTE: Mapping[str, str] = {"Range": "bytes=0-0"}
# The answer to another object of the bucket may be another one.
_OF_OBJECTS: Final = frozenset({"AccessDenied", "InvalidObjectState", "NoSuchKey", "UnavailableForLegalReasons"})
_MOST_PREFIXES: Final = 3  # named in a finding
_VARIANTS: Final = ("webp", "avif")  # formats of which one variant each is tried
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

# COS's answer to a request, or the error if there is none.
Answer = CosError | GatewayError
Asked = Sequence[tuple[ImageRecord, Answer]]


@dataclass(slots=True)
class CosCheck:
    """Tries COS for ``gateway check`` by URLs as ``serve`` signs them. Corrects ``clock`` if COS refuses their time."""

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

        COS is asked for a made-up key of each of ``buckets`` that no row names; of the first, the default, only
        without ``images``, of which ``no_image_reason`` is the cause.
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
                made_up = ImageRecord("", None, False, bucket, region, key="check", content_type=None)
                async for finding in self._of_bucket([made_up], "no row names it" if images else no_image_reason):
                    yield finding
        if self._difference is None or self._is_clock_refused:  # no answer had a date, or a bucket's finding says it
            return
        if abs(self._difference) >= CLOCK_TOLERANCE:
            yield Finding.of("clock_differs", "clock", f"{_clock(self._difference)} by COS's clock")
        else:
            yield well("clock", f"within {CLOCK_TOLERANCE} s of COS's")

    async def _of_bucket(self, images: Sequence[ImageRecord], no_row: str = "") -> AsyncIterator[Finding]:
        """Yield findings on the bucket of ``images``, at least one. ``no_row``: why the only image is made up.

        If the answer to the first image would be the same for every image, no other image is asked for.
        """
        image = images[0]
        name, place = f"cos {image.bucket}", f"at {self.hosts.origin_of(image.bucket, image.region).base}"
        first = await self._answer(image)
        if isinstance(first, CosError) and first.status in (400, 403) and self.clock.refused_at(first.date):
            first = await self._answer(image)
            if isinstance(first, CosError) and first.status not in (400, 403):
                self._is_clock_refused = True
                what = f"COS refuses the time of the signature: {_clock(self._difference or 0.0)}"
                yield Finding.of("clock_differs", name, what, level="bad")
                return
        if isinstance(first, CredentialsExpired):
            # Why the source gives none is a finding on the source.
            yield Finding.of("credentials_ended", name, str(first), stops_start=not isinstance(first, NoCredentials))
        elif isinstance(first, GatewayError):
            yield Finding.of("dependency_down", name, f"no answer {place}: {first}")
        elif not _is_read(first) and first.code not in _OF_OBJECTS:
            what = f"COS answered {_words(first)} {place}{'' if no_row else f', row {image.image_id}'}"
            is_refused = first.status < 500 and first.status not in THROTTLED_STATUSES
            yield Finding.of(_kind(first), name, what, stops_start=is_refused)
        elif no_row and first.code == "AccessDenied":
            # The answer to a missing object if the credentials may not list, which the gateway does not need.
            yield Finding.of("rights_unproven", name, place=place, no_row=no_row)
        elif no_row:
            yield well(name, f"the signature was accepted {place}; {no_row}")
        else:
            answers = [first, *await asyncio.gather(*map(self._answer, images[1:]))]
            async for finding in self._of_rows(list(zip(images, answers, strict=True)), name, place):
                yield finding

    async def _of_rows(self, asked: Asked, name: str, place: str) -> AsyncIterator[Finding]:
        """Yield the finding on images that were read, and one for each other answer."""
        if read := [(image, answer) for image, answer in asked if _is_read(answer)]:
            yield await self._head(*read[0], name, place, len(read))
        refused: dict[str, list[tuple[ImageRecord, Answer]]] = {}
        for image, answer in asked:
            if not _is_read(answer):
                refused.setdefault(_words(answer), []).append((image, answer))
        for words, rows in refused.items():
            yield _of_refused(words, rows, asked, name, place)

    async def _head(self, image: ImageRecord, got: Answer, name: str, place: str, count: int) -> Finding:
        head = await self._answer(image, "HEAD")
        if isinstance(head, GatewayError):
            return Finding.of("dependency_down", name, f"no answer to HEAD {place}: {head}")
        where = f"HEAD {head.status} {place}, row {image.image_id}"
        if head.status != 200:
            return Finding.of("cos_refuses", name, f"GET {_words(got)}, but {where}")
        others = f", and GET of {count - 1} other rows" if count > 1 else ""
        return well(name, f"GET {_words(got)} and {where}{others}")

    async def _answer(self, image: ImageRecord, method: str = "GET") -> Answer:
        headers = _FIRST_BYTE if method == "GET" else {}
        try:
            presigned = self.signer.sign(image, method=method)
            if not self.lifetime.is_usable(presigned, self.clock.now()):
                raise CredentialsExpired("the credentials end too soon for any URL to be usable")
            answer = (await self.origin.diagnose(presigned.url, method, headers)).error
        except GatewayError as error:
            return error
        if self._difference is None and answer.date is not None:
            self._difference = answer.date - time.time()
        return answer


async def check_variants(
    origin: OriginClient, signer: Signer, renditions: Renditions, image: ImageRecord
) -> AsyncIterator[Finding]:
    """Yield a finding for each of two formats that a style lists, of its narrowest rendition.

    A refusal is a warning, since the gateway sends another format or the original then.
    """
    for image_format in _VARIANTS:
        found = [rendition for rendition in map(renditions.get, renditions.names) if rendition.format == image_format]
        if not found:
            continue
        rendition = min(found, key=lambda rendition: rendition.width or 0).name
        name = f"variant {rendition}"
        try:
            response = await origin.fetch(signer.sign(image, rendition).url, image.bucket)
        except (GatewayError, PresignedUrlRefused) as error:
            yield Finding.of("variant_not_made", name, f"COS does not make it of row {image.image_id}: {error}")
            continue
        response.close()
        if (made := response.head.metadata.content_type) == f"image/{image_format}":
            yield well(name, f"COS made it of row {image.image_id}")
        else:
            yield Finding.of("variant_not_made", name, f"COS made {made or 'no type'} of row {image.image_id}")


def _of_refused(words: str, rows: Asked, asked: Asked, name: str, place: str) -> Finding:
    """Return the finding on ``rows``, which got the same answer. ``asked`` are all rows of the bucket."""
    image, answer = rows[0]
    code = answer.code if isinstance(answer, CosError) else None
    counts, totals = (Counter(_prefix(image) for image, _ in images) for images in (rows, asked))
    where = ", ".join(
        f"{count} of {totals[prefix]} {f'below {prefix}' if prefix else 'without a prefix'}"
        for prefix, count in counts.most_common(_MOST_PREFIXES)
    )
    if len(counts) > _MOST_PREFIXES:
        where += f", and {len(counts) - _MOST_PREFIXES} other prefixes"
    is_all = len(rows) == len(asked)
    what = f"{f'COS answered {words}' if words else 'no answer'} {place}"
    if len(asked) > 1:
        what += f" to {len(rows)} of {len(asked)} rows: {where}, such as"
    what += f"{',' if len(asked) == 1 else ''} row {image.image_id}"
    advice = ""
    if problem := key_problem(answer, image.key):
        what += problem
    elif code == "AccessDenied" and not is_all:
        prefixes = ", ".join(f"{prefix}*" for prefix, _ in counts.most_common(_MOST_PREFIXES))
        advice = f"allow the credentials GetObject on {prefixes}, or the right to list if these objects are missing"
    if code in ("InvalidObjectState", "NoSuchKey", "UnavailableForLegalReasons") and not is_all:
        return Finding.of("objects_missing", name, what, advice)
    return Finding.of(_kind(answer), name, what, advice, stops_start=is_all and code == "AccessDenied")


def _kind(answer: Answer) -> str:
    return "cos_refuses" if isinstance(answer, CosError) and answer.code in REFUSALS else "cos_errors"


def key_problem(answer: Answer, key: str) -> str:
    """Return the mistake in a key that explains why COS refuses it. Empty without one. COS allows such a key."""
    if not isinstance(answer, CosError) or answer.code not in ("AccessDenied", "NoSuchKey"):
        return ""
    if _URL.match(key.strip()):
        return ", whose key is a whole URL"
    if key != key.lstrip():
        return ", whose key begins with a space"
    return ", whose key ends with a space" if key != key.rstrip() else ""


def _prefix(image: ImageRecord) -> str:
    """Return the first segment of the key with its slash. Empty for a key without a slash."""
    first, slash, _ = image.key.removeprefix("/").partition("/")
    return first + slash if slash else ""


def _clock(difference: float) -> str:
    return f"the clock of this machine is {abs(difference):.0f} s {'slow' if difference > 0 else 'fast'}"


def _words(answer: Answer) -> str:
    """Return status and code. Empty if there is no answer."""
    return answer.said if isinstance(answer, CosError) else ""


def _is_read(answer: Answer) -> bool:
    return isinstance(answer, CosError) and answer.status in (200, 206)
