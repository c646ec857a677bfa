"""The 19 probes of ``check --deep``: what the gateway relies on, tried on a real bucket.

A probe yields results in the order of its requests. ``run_probes`` makes a result of ``OriginUnavailable``.
"""

import enum
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gateway.catalog.record import ImageRecord
from gateway.checks.deep_session import DeepSession, Reply, reach
from gateway.errors import OriginUnavailable
from gateway.presign.probe_signer import ProbeSigner

_SKEW: Final = 30  # seconds
_SIGNATURE: Final = re.compile(r"q-signature=([0-9a-f])")
_OTHER_ETAG: Final = '"00000000000000000000000000000000"'
_SHORT_LIFE, _SLOW_READ = 20, 40  # seconds
_IDLE: Final = (5, 20, 40, 70)  # seconds
_BUFFERED: Final = 4 * 1024 * 1024  # bytes; a smaller object is received before the pause ends
_PADDED: Final = 8192  # bytes
_OTHER_RULE: Final = quote("imageMogr2/thumbnail/!100p", safe="")
_FIRST_BYTE: Final = {"Range": "bytes=0-0"}


class Verdict(enum.StrEnum):
    """What COS's answer to a probe of ``check --deep`` means for the gateway."""

    OK = "ok"
    FAIL = "fail"
    WARN = "warn"
    RECORDED = "note"  # both answers are fine; which one it is, is worth knowing
    SKIPPED = "skip"


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the report of ``check --deep``. It never contains a URL, a key or a signature."""

    title: str
    expected: str
    got: str
    verdict: Verdict
    request_id: str | None = None

    @property
    def what(self) -> str:
        """What was expected and what came, as a sentence; of a probe that was skipped, why."""
        if self.verdict is Verdict.SKIPPED:
            return self.got
        request = f" (request {self.request_id})" if self.request_id is not None else ""
        return f"expected {self.expected}; got {self.got}{request}"


def judged(title: str, expected: str, reply: Reply, verdict: Verdict | bool, note: str = "") -> Result:
    """Return the result for an answer. A verdict of True is right, of False a failure."""
    if isinstance(verdict, bool):
        verdict = Verdict.OK if verdict else Verdict.FAIL
    return Result(title, expected, f"{reply.said}{note}", verdict, reply.error.request_id)


def of_status(title: str, reply: Reply, *right: int, note: str = "") -> Result:
    """Return the result for an answer that is a failure with another status than the ``right`` ones."""
    return judged(title, " or ".join(map(str, right)), reply, reply.status in right, note)


def recorded(title: str, reply: Reply, note: str = "", *, expected: str = "recorded") -> Result:
    """Return the result for an answer that is neither right nor wrong."""
    return judged(title, expected, reply, Verdict.RECORDED, note)


def skipped(title: str, why: str) -> Result:
    """Return the result of a probe that was not made."""
    return Result(title, "", why, Verdict.SKIPPED)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a probe of ``check --deep`` uses: an image, other objects of its bucket (by key), a signer and a session."""

    image: ImageRecord
    session: DeepSession
    signer: ProbeSigner
    styles: tuple[str, ...] = ()
    oversized: str | None = None
    not_image: str | None = None
    keys: tuple[str, ...] = ()
    timeout: float = 10.0
    is_strict: bool = False  # the configuration says that the bucket refuses unsigned parameters

    def url(self, *, key: str | None = None, **options: Any) -> str:
        """Return a URL of the image, or of another object of its bucket. ``options``: of ``ProbeSigner.url``."""
        image = self.image
        if key is not None:
            image = ImageRecord(image.image_id, None, image.public, image.bucket, image.region, key, None)
        return self.signer.url(image, **options)

    async def get(self, headers: Mapping[str, str] | None = None, **options: Any) -> Reply:
        return await self.session.send(self.url(**options), headers=headers)

    async def head(self, **options: Any) -> Reply:
        return await self.session.send(self.url(method="HEAD", **options), "HEAD")


async def reachability(subject: Subject) -> AsyncIterator[Result]:
    """Probe 1: addresses, certificate, clock."""
    expected = "addresses, a valid certificate, clocks under 30 s apart"
    base = subject.signer.hosts.origin_of(subject.image.bucket, subject.image.region).base
    try:
        addresses = await reach(base, subject.timeout)
    except OriginUnavailable as error:
        yield Result("DNS, TLS", expected, str(error), Verdict.FAIL)
        return
    is_https = base.startswith("https:")
    tls, verdict = ("the certificate is valid", Verdict.OK) if is_https else ("no TLS", Verdict.WARN)
    yield Result("DNS, TLS", expected, f"{', '.join(addresses)}; {tls}", verdict)
    date = (await subject.head()).error.date
    if date is None:
        yield Result("Date", expected, "no Date field", Verdict.WARN)
    else:
        difference = abs(date - time.time())
        yield Result("Date", expected, f"{difference:.0f} s apart", Verdict.OK if difference < _SKEW else Verdict.FAIL)


async def missing_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 2: a key that does not exist."""
    reply = await subject.get(key=f"check-{secrets.token_hex(16)}")
    title, expected = "GET of a random key", "404 NoSuchKey"
    if reply.status == 403:
        yield judged(title, expected, reply, Verdict.WARN, ": no right to list, or a policy")
    else:
        yield judged(title, expected, reply, reply.said == expected)


async def methods(subject: Subject) -> AsyncIterator[Result]:
    """Probe 3: a URL is signed for a single method."""
    for title, signed, sent, status in (
        ("GET with a GET URL", "GET", "GET", 200),
        ("HEAD with a HEAD URL", "HEAD", "HEAD", 200),
        ("HEAD with a GET URL", "GET", "HEAD", 403),
    ):
        yield of_status(title, await subject.session.send(subject.url(method=signed), sent), status)


async def times(subject: Subject) -> AsyncIterator[Result]:
    """Probe 4: signatures that are altered, expired, or not valid yet."""
    altered = _SIGNATURE.sub(lambda found: f"q-signature={'1' if found[1] == '0' else '0'}", subject.url())
    reply, expected = await subject.session.send(altered), "403 SignatureDoesNotMatch"
    yield judged("altered signature", expected, reply, reply.said == expected)
    reply = await subject.get(starts_in=-600, life=-300)
    yield judged("expired", '403 "Request has expired"', reply, reply.status == 403 and reply.error.is_expired)
    for minutes in (5, 20):
        yield recorded(f"starts in {minutes} minutes", await subject.get(starts_in=minutes * 60, life=3600))


async def unsigned_headers(subject: Subject) -> AsyncIterator[Result]:
    """Probe 5: Range and conditions that are not signed."""
    etag = (await subject.get()).metadata.etag or '"unknown"'
    for name, value, status in (("Range", "bytes=0-0", 206), ("If-Match", etag, 200), ("If-None-Match", etag, 304)):
        reply = await subject.get({name: value})
        note = ": a strict-signature bucket" if reply.status == 403 else ""
        yield of_status(f"unsigned {name}", reply, status, note=note)


async def ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 6: every form of a range."""
    size = (await subject.get()).metadata.size or 0
    for name, asked, right in (
        ("0-0", "0-0", (206,)),
        ("-1", "-1", (206,)),
        ("0-", "0-", (200, 206)),
        ("0-last", f"0-{max(0, size - 1)}", (200, 206)),
    ):
        yield of_status(f"Range {name}", await subject.get({"Range": f"bytes={asked}"}), *right)
    yield recorded("two ranges", await subject.get({"Range": "bytes=0-0,2-2"}))
    reply = await subject.get({"Range": f"bytes={size + 10}-"})
    content_range = reply.headers.get("Content-Range", "missing")
    has_size = content_range == f"bytes */{size}"
    note = "" if has_size else f", Content-Range {content_range}"
    # Without the size, the gateway asks for it by HEAD.
    verdict = reply.status == 416 if has_size or reply.status != 416 else Verdict.RECORDED
    yield judged("Range past the end", "416 with */size", reply, verdict, note)


async def conditional_ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 7: a range with a condition, on which resuming depends."""
    etag = (await subject.get()).metadata.etag or ""
    reply = await subject.get({**_FIRST_BYTE, "If-Match": etag})
    is_right = reply.status == 206 and reply.metadata.etag == etag
    yield judged("Range, right If-Match", "206 of the same ETag", reply, is_right)
    yield of_status("Range, wrong If-Match", await subject.get({**_FIRST_BYTE, "If-Match": _OTHER_ETAG}), 412)
    yield of_status("Range, If-None-Match", await subject.get({**_FIRST_BYTE, "If-None-Match": etag}), 304)


async def whole_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 8: every byte, and the header fields that describe them."""
    reply = await subject.get()
    yield judged("length", "as announced", reply, reply.received == reply.metadata.size, f", {reply.received} bytes")
    if reply.crc64 is None:
        yield recorded("CRC-64", reply, ", none announced", expected="that of the bytes")
    else:
        yield judged("CRC-64", "that of the bytes", reply, reply.crc64 == reply.checksum)
    strong = reply.metadata.strong_etag
    yield judged("ETag", "strong", reply, strong is not None)
    revalidated = await subject.get({"If-None-Match": strong or ""})
    yield recorded("type in a 304", revalidated, f", {revalidated.metadata.content_type or 'none'}")
    forced = "x-cos-force-download"
    yield recorded("forced download", reply, f", {forced if forced in reply.headers else 'not forced'}")


async def processed(subject: Subject) -> AsyncIterator[Result]:
    """Probe 9: each style by GET."""
    if not subject.styles:
        yield skipped("styles", "image_styles is empty")
        return
    original = await subject.get()
    for style in subject.styles:
        reply = await subject.get(style=style)
        is_right = reply.status == 200 and reply.is_image and reply.is_whole
        length = "chunks" if reply.is_chunked else f"{reply.received} bytes"
        note = f", {reply.metadata.content_type or 'no type'}, {length}"
        yield judged(f"style {style}: GET", "200 image, length or chunks", reply, is_right, note)
        if reply.status == 200:
            yield recorded(f"style {style}: CRC-64", reply, f", {_crc_of(reply, original)}")


def _crc_of(reply: Reply, original: Reply) -> str:
    if reply.crc64 is None:
        return "absent"
    if reply.crc64 == reply.checksum:
        return "of the result"
    return "of the original" if reply.crc64 == original.checksum else "of neither"


async def processed_conditions(subject: Subject) -> AsyncIterator[Result]:
    """Probe 10: each style by HEAD, with a condition and as a range."""
    if not subject.styles:
        yield skipped("styles", "image_styles is empty")
        return
    for style in subject.styles:
        got, head = await subject.get(style=style), await subject.head(style=style)
        etag = got.metadata.etag
        is_right = head.status == got.status and head.metadata.etag == etag
        yield judged(f"style {style}: HEAD", "as its GET", head, is_right)
        if etag is None:
            yield recorded(f"style {style}: conditions", got, ", no ETag", expected="304")
            continue
        yield of_status(f"style {style}: If-None-Match", await subject.get({"If-None-Match": etag}, style=style), 304)
        reply = await subject.get({**_FIRST_BYTE, "If-Match": etag}, style=style)
        yield judged(f"style {style}: Range, If-Match", "206 or 412", reply, reply.status in (200, 206, 412))


async def unprocessable(subject: Subject) -> AsyncIterator[Result]:
    """Probe 11: objects that no style can process."""
    style = next(iter(subject.styles), None)
    for title, key in (("oversized", subject.oversized), ("not an image", subject.not_image)):
        option = f"--{title.replace('an ', '').replace(' ', '-')}"
        if key is None or style is None:
            yield skipped(title, f"needs {option} KEY and a style")
            continue
        original, reply = await subject.get(key=key), await subject.get(key=key, style=style)
        is_original = reply.status == 200 and reply.checksum == original.checksum
        is_refused = reply.status == 400 and reply.error.code is not None
        verdict = Verdict.RECORDED if is_refused or is_original else Verdict.FAIL
        note = ", the original" if is_original else ""
        yield judged(title, "400 with its code, or the original", reply, verdict, note)


async def tokens(subject: Subject) -> AsyncIterator[Result]:
    """Probe 12: temporary credentials."""
    signer, right = subject.signer, subject.signer.credentials.token
    if right is None:
        yield skipped("token", "the credentials are permanent")
        return
    for title, token in (("token right", right), ("token altered", right[::-1]), ("token missing", None)):
        reply = await subject.session.send(signer.with_token(token).url(subject.image))
        yield of_status(title, reply, *((200,) if token == right else (400, 403)))


async def hosts(subject: Subject) -> AsyncIterator[Result]:
    """Probe 13: the configured host, in lower and in mixed case."""
    yield of_status("host in lower case", await subject.get(), 200)
    yield recorded("host in mixed case", await subject.get({"Host": urlsplit(subject.url()).netloc.title()}))


async def slow_read(subject: Subject) -> AsyncIterator[Result]:
    """Probe 14: a URL that expires while its body is read."""
    title, expected = f"a URL of {_SHORT_LIFE} s read for {_SLOW_READ} s", "whole"
    try:
        reply = await subject.session.send(subject.url(life=_SHORT_LIFE), pause=_SLOW_READ)
    except OriginUnavailable as error:
        yield Result(title, expected, f"cut: {error}", Verdict.FAIL)
        return
    if reply.received < _BUFFERED:
        yield recorded(title, reply, f", {reply.received} bytes are too few to tell", expected=expected)
    else:
        yield judged(title, expected, reply, reply.is_whole)


async def idle_connections(subject: Subject) -> AsyncIterator[Result]:
    """Probe 15: for how long COS keeps an idle connection."""
    longest = 0
    for seconds in _IDLE:
        await subject.get()
        await subject.session.sleep(seconds)
        if not (await subject.get()).is_reused:
            break
        longest = seconds
    yield Result("idle connections", "recorded", f"reused after {longest} s", Verdict.RECORDED)


async def overrides(subject: Subject) -> AsyncIterator[Result]:
    """Probe 16: a second, unsigned value next to a signed ``response-content-type``, on which redirects depend."""
    name, signed, other = "response-content-type", "image/x-signed", "text/html"
    url = subject.url(more={name: signed})
    base, _, query = url.partition("?")
    for title, attempt in (
        ("a second value after", f"{url}&{name}={quote(other, safe='')}"),
        ("a second value before", f"{base}?{name}={quote(other, safe='')}&{query}"),
    ):
        reply = await subject.session.send(attempt)
        is_right = reply.status == 403 or (reply.status == 200 and reply.metadata.content_type == signed)
        note = f", {reply.metadata.content_type}" if reply.status == 200 else ""
        warning = "" if is_right else ": do not use redirects"
        yield judged(title, "403, or the signed value", reply, is_right, note + warning)


async def awkward_keys(subject: Subject) -> AsyncIterator[Result]:
    """Probe 17: keys that clients often alter."""
    if not subject.keys:
        yield skipped("keys", "needs --keys KEY for objects with space, +, %, Chinese, // or ./ in their keys")
    for number, key in enumerate(subject.keys, start=1):
        yield of_status(f"key {number}", await subject.get(key=key), 200)


async def long_urls(subject: Subject) -> AsyncIterator[Result]:
    """Probe 18: unsigned padding, as long as the longest tokens."""
    url = subject.url()
    reply = await subject.session.send(f"{url}&padding={'x' * max(1, _PADDED - len(url) - 9)}")
    verdict, note = (Verdict.OK, "") if reply.status == 200 else (Verdict.WARN, ": long tokens may fail")
    yield judged("a URL of 8 kB", "200", reply, verdict, note)


async def unsigned_parameters(subject: Subject) -> AsyncIterator[Result]:
    """Probe 19: parameters that are not signed, by which the URL of a style may give the original."""
    original = await subject.get()
    attempts = [("unsigned response-content-type", f"{subject.url()}&response-content-type=text%2Fhtml")]
    for style in subject.styles:
        url = subject.url(style=style)
        base, _, query = url.partition("?")
        attempts.append((f"style {style}: an unsigned rule after", f"{url}&{_OTHER_RULE}="))
        attempts.append((f"style {style}: an unsigned rule before", f"{base}?{_OTHER_RULE}=&{query}"))
    all_refused = True
    for title, attempt in attempts:
        reply = await subject.session.send(attempt)
        all_refused &= reply.status == 403
        note = ", the original" if reply.status == 200 and reply.checksum == original.checksum else ""
        if subject.is_strict:
            yield judged(title, "403, as cos.unsigned_parameters says", reply, reply.status == 403, note)
        else:
            yield recorded(title, reply, note)
    if not subject.is_strict:
        found = "refused" if all_refused else "obeyed"
        yield Result("cos.unsigned_parameters", "recorded", f"{found} is right", Verdict.RECORDED)


PROBES: Final[Sequence[Callable[[Subject], AsyncIterator[Result]]]] = (
    reachability,
    missing_object,
    methods,
    times,
    unsigned_headers,
    ranges,
    conditional_ranges,
    whole_object,
    processed,
    processed_conditions,
    unprocessable,
    tokens,
    hosts,
    slow_read,
    idle_connections,
    overrides,
    awkward_keys,
    long_urls,
    unsigned_parameters,
)


async def run_probes(subject: Subject, numbers: Collection[int] = ()) -> AsyncIterator[tuple[int, Result]]:
    """Yield the results of all probes, or of the probes with ``numbers``, each with the number of its probe."""
    for number, probe in enumerate(PROBES, start=1):
        if numbers and number not in numbers:
            continue
        try:
            async for result in probe(subject):
                yield number, result
        except OriginUnavailable as error:
            yield number, Result("request", "an answer", f"none: {error}", Verdict.FAIL)
