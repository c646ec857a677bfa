"""The 19 probes of ``check --deep``: what the gateway relies on, tried on a real bucket.

A probe yields results in the order of its requests. A request without an answer raises ``OriginUnavailable``, which
``run_probes`` makes a result of.
"""

import re
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlsplit

from gateway.catalog.record import ImageRecord
from gateway.checks.deep_result import Result, Verdict, judged, of_status, recorded, skipped
from gateway.checks.deep_session import DeepSession, Reply, clock_difference, reach
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


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of the probes. ``image`` is from a row. The keys are of objects in the bucket of ``image``.

    ``is_strict``: the configuration says that the bucket refuses unsigned parameters.
    """

    image: ImageRecord
    session: DeepSession
    signer: ProbeSigner
    styles: tuple[str, ...] = ()
    oversized: str | None = None
    not_image: str | None = None
    keys: tuple[str, ...] = ()
    timeout: float = 10.0
    is_strict: bool = False

    def of_key(self, key: str) -> ImageRecord:
        """Return the row as if it named another object of the bucket."""
        image = self.image
        return ImageRecord(image.image_id, None, image.public, image.bucket, image.region, key, None)


async def reachability(subject: Subject) -> AsyncIterator[Result]:
    """Probe 1: addresses, certificate, clock."""
    expected = "addresses, a valid certificate, clocks under 30 s apart"
    try:
        origin = subject.signer.hosts.origin_of(subject.image.bucket, subject.image.region)
        found = await reach(origin.base, subject.timeout)
    except OriginUnavailable as error:
        yield Result("DNS, TLS", expected, str(error), Verdict.FAIL)
        return
    tls = "no TLS" if found.certificate_until is None else "the certificate is valid"
    verdict = Verdict.OK if found.certificate_until is not None else Verdict.WARN
    yield Result("DNS, TLS", expected, f"{', '.join(found.addresses)}; {tls}", verdict)
    difference = clock_difference(await subject.session.send(subject.signer.url(subject.image, method="HEAD"), "HEAD"))
    if difference is None:
        yield Result("Date", expected, "no Date field", Verdict.WARN)
    else:
        verdict = Verdict.OK if abs(difference) < _SKEW else Verdict.FAIL
        yield Result("Date", expected, f"{abs(difference):.0f} s apart", verdict)


async def missing_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 2: a key that does not exist."""
    reply = await subject.session.send(subject.signer.url(subject.of_key(f"check-{secrets.token_hex(16)}")))
    is_right = (reply.status, reply.code) == (404, "NoSuchKey")
    note = ": no right to list, or a policy" if reply.status == 403 else ""
    result = judged("GET of a random key", "404 NoSuchKey", reply, is_right=is_right, note=note)
    yield replace(result, verdict=Verdict.WARN) if reply.status == 403 else result


async def methods(subject: Subject) -> AsyncIterator[Result]:
    """Probe 3: a URL is signed for a single method."""
    image, signer = subject.image, subject.signer
    for title, signed, sent, status in (
        ("GET with a GET URL", "GET", "GET", 200),
        ("HEAD with a HEAD URL", "HEAD", "HEAD", 200),
        ("HEAD with a GET URL", "GET", "HEAD", 403),
    ):
        reply = await subject.session.send(signer.url(image, method=signed), sent)
        yield of_status(title, reply, status)


async def times(subject: Subject) -> AsyncIterator[Result]:
    """Probe 4: signatures that are altered, expired, or not valid yet."""
    image, signer, send = subject.image, subject.signer, subject.session.send
    altered = _SIGNATURE.sub(lambda found: f"q-signature={'1' if found[1] == '0' else '0'}", signer.url(image))
    reply = await send(altered)
    is_right = (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    yield judged("altered signature", "403 SignatureDoesNotMatch", reply, is_right=is_right)
    reply = await send(signer.url(image, starts_in=-600, life=-300))
    is_right = reply.status == 403 and reply.error.is_expired
    yield judged("expired", '403 "Request has expired"', reply, is_right=is_right)
    for minutes in (5, 20):
        reply = await send(signer.url(image, starts_in=minutes * 60, life=3600))
        yield recorded(f"starts in {minutes} minutes", reply)


async def unsigned_headers(subject: Subject) -> AsyncIterator[Result]:
    """Probe 5: Range and conditions that are not signed."""
    url, send = subject.signer.url(subject.image), subject.session.send
    etag = (await send(url)).metadata.etag or '"unknown"'
    for name, value, status in (("Range", "bytes=0-0", 206), ("If-Match", etag, 200), ("If-None-Match", etag, 304)):
        reply = await send(url, headers={name: value})
        note = ": a strict-signature bucket" if reply.status == 403 else ""
        yield of_status(f"unsigned {name}", reply, status, note=note)


async def ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 6: every form of a range."""
    url, send = subject.signer.url(subject.image), subject.session.send
    size = (await send(url)).metadata.size or 0
    for name, asked, right in (
        ("0-0", "0-0", (206,)),
        ("-1", "-1", (206,)),
        ("0-", "0-", (200, 206)),
        ("0-last", f"0-{max(0, size - 1)}", (200, 206)),
    ):
        reply = await send(url, headers={"Range": f"bytes={asked}"})
        yield of_status(f"Range {name}", reply, *right)
    yield recorded("two ranges", await send(url, headers={"Range": "bytes=0-0,2-2"}))
    reply = await send(url, headers={"Range": f"bytes={size + 10}-"})
    has_size = reply.content_range == f"bytes */{size}"
    note = "" if has_size else f", Content-Range {reply.content_range or 'missing'}"
    result = judged("Range past the end", "416 with */size", reply, is_right=reply.status == 416, note=note)
    if reply.status == 416 and not has_size:  # the gateway then asks for the size by HEAD
        result = replace(result, verdict=Verdict.RECORDED)
    yield result


async def conditional_ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 7: a range with a condition, on which resuming depends."""
    url, send = subject.signer.url(subject.image), subject.session.send
    etag = (await send(url)).metadata.etag or ""
    first_byte = {"Range": "bytes=0-0"}
    reply = await send(url, headers={**first_byte, "If-Match": etag})
    is_right = reply.status == 206 and reply.metadata.etag == etag
    yield judged("Range, right If-Match", "206 of the same ETag", reply, is_right=is_right)
    reply = await send(url, headers={**first_byte, "If-Match": _OTHER_ETAG})
    yield of_status("Range, wrong If-Match", reply, 412)
    reply = await send(url, headers={**first_byte, "If-None-Match": etag})
    yield of_status("Range, If-None-Match", reply, 304)


async def whole_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 8: every byte, and the header fields that describe them."""
    url, send = subject.signer.url(subject.image), subject.session.send
    reply = await send(url)
    note = f", {reply.received} bytes"
    yield judged("length", "as announced", reply, is_right=reply.received == reply.metadata.size, note=note)
    if reply.crc64 is None:
        yield recorded("CRC-64", reply, expected="that of the bytes", note=", none announced")
    else:
        yield judged("CRC-64", "that of the bytes", reply, is_right=reply.crc64 == reply.checksum)
    strong = reply.metadata.strong_etag
    yield judged("ETag", "strong", reply, is_right=strong is not None)
    revalidated = await send(url, headers={"If-None-Match": strong or ""})
    given = revalidated.metadata.content_type
    yield recorded("type in a 304", revalidated, note=f", {given or 'none'}")
    forced = ", x-cos-force-download" if reply.is_forced_download else ", not forced"
    yield recorded("forced download", reply, note=forced)


async def processed(subject: Subject) -> AsyncIterator[Result]:
    """Probe 9: each style by GET."""
    if not subject.styles:
        yield skipped("styles", "image_styles is empty")
        return
    original = await subject.session.send(subject.signer.url(subject.image))
    for style in subject.styles:
        reply = await subject.session.send(subject.signer.url(subject.image, style=style))
        is_right = reply.status == 200 and reply.is_image and reply.is_whole
        length = "chunks" if reply.is_chunked else f"{reply.received} bytes"
        note = f", {reply.metadata.content_type or 'no type'}, {length}"
        yield judged(f"style {style}: GET", "200 image, length or chunks", reply, is_right=is_right, note=note)
        if reply.status == 200:
            yield recorded(f"style {style}: CRC-64", reply, note=f", {_crc_of(reply, original)}")


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
    signer, send = subject.signer, subject.session.send
    for style in subject.styles:
        url = signer.url(subject.image, style=style)
        got = await send(url)
        head = await send(signer.url(subject.image, style=style, method="HEAD"), "HEAD")
        is_right = head.status == got.status and head.metadata.etag == got.metadata.etag
        yield judged(f"style {style}: HEAD", "as its GET", head, is_right=is_right)
        etag = got.metadata.etag
        if etag is None:
            yield recorded(f"style {style}: conditions", got, expected="304", note=", no ETag")
            continue
        reply = await send(url, headers={"If-None-Match": etag})
        yield of_status(f"style {style}: If-None-Match", reply, 304)
        reply = await send(url, headers={"Range": "bytes=0-0", "If-Match": etag})
        is_right = reply.status in (200, 206, 412)
        yield judged(f"style {style}: Range, If-Match", "206 or 412", reply, is_right=is_right)


async def unprocessable(subject: Subject) -> AsyncIterator[Result]:
    """Probe 11: objects that no style can process."""
    style = next(iter(subject.styles), None)
    for title, key in (("oversized", subject.oversized), ("not an image", subject.not_image)):
        option = f"--{title.replace('an ', '').replace(' ', '-')}"
        if key is None or style is None:
            yield skipped(title, f"needs {option} KEY and a style")
            continue
        image = subject.of_key(key)
        original = await subject.session.send(subject.signer.url(image))
        reply = await subject.session.send(subject.signer.url(image, style=style))
        is_original = reply.status == 200 and reply.checksum == original.checksum
        is_right = (reply.status == 400 and reply.code is not None) or is_original
        note = ", the original" if is_original else ""
        result = recorded(title, reply, expected="400 with its code, or the original", note=note)
        yield result if is_right else replace(result, verdict=Verdict.FAIL)


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
    url = subject.signer.url(subject.image)
    host = urlsplit(url).netloc
    reply = await subject.session.send(url)
    yield of_status("host in lower case", reply, 200)
    reply = await subject.session.send(url, headers={"Host": host.title()})
    yield recorded("host in mixed case", reply)


async def slow_read(subject: Subject) -> AsyncIterator[Result]:
    """Probe 14: a URL that expires while its body is read."""
    title, expected = f"a URL of {_SHORT_LIFE} s read for {_SLOW_READ} s", "whole"
    url = subject.signer.url(subject.image, life=_SHORT_LIFE)
    try:
        reply = await subject.session.send(url, pause=_SLOW_READ)
    except OriginUnavailable as error:
        yield Result(title, expected, f"cut: {error}", Verdict.FAIL)
        return
    if reply.received < _BUFFERED:
        yield recorded(title, reply, expected=expected, note=f", {reply.received} bytes are too few to tell")
    else:
        yield judged(title, expected, reply, is_right=reply.is_whole)


async def idle_connections(subject: Subject) -> AsyncIterator[Result]:
    """Probe 15: for how long COS keeps an idle connection."""
    url = subject.signer.url(subject.image)
    longest = 0
    for seconds in _IDLE:
        await subject.session.send(url)
        await subject.session.sleep(seconds)
        if not (await subject.session.send(url)).is_reused:
            break
        longest = seconds
    yield Result("idle connections", "recorded", f"reused after {longest} s", Verdict.RECORDED)


async def overrides(subject: Subject) -> AsyncIterator[Result]:
    """Probe 16: a second, unsigned value next to a signed ``response-content-type``, on which redirects depend."""
    name, signed, other = "response-content-type", "image/x-signed", "text/html"
    url = subject.signer.url(subject.image, more={name: signed})
    base, _, query = url.partition("?")
    for title, attempt in (
        ("a second value after", f"{url}&{name}={quote(other, safe='')}"),
        ("a second value before", f"{base}?{name}={quote(other, safe='')}&{query}"),
    ):
        reply = await subject.session.send(attempt)
        is_right = reply.status == 403 or (reply.status == 200 and reply.metadata.content_type == signed)
        note = f", {reply.metadata.content_type}" if reply.status == 200 else ""
        warning = "" if is_right else ": do not use redirects"
        yield judged(title, "403, or the signed value", reply, is_right=is_right, note=note + warning)


async def awkward_keys(subject: Subject) -> AsyncIterator[Result]:
    """Probe 17: keys that clients often alter."""
    if not subject.keys:
        yield skipped("keys", "needs --keys KEY for objects with space, +, %, Chinese, // or ./ in their keys")
    for number, key in enumerate(subject.keys, start=1):
        reply = await subject.session.send(subject.signer.url(subject.of_key(key)))
        yield of_status(f"key {number}", reply, 200)


async def long_urls(subject: Subject) -> AsyncIterator[Result]:
    """Probe 18: unsigned padding, as long as the longest tokens."""
    url = subject.signer.url(subject.image)
    reply = await subject.session.send(f"{url}&padding={'x' * max(1, _PADDED - len(url) - 9)}")
    result = of_status("a URL of 8 kB", reply, 200, note="" if reply.status == 200 else ": long tokens may fail")
    yield result if reply.status == 200 else replace(result, verdict=Verdict.WARN)


async def unsigned_parameters(subject: Subject) -> AsyncIterator[Result]:
    """Probe 19: parameters that are not signed, by which the URL of a style may give the original."""
    image, signer, send = subject.image, subject.signer, subject.session.send
    original = await send(signer.url(image))
    attempts = [("unsigned response-content-type", f"{signer.url(image)}&response-content-type=text%2Fhtml")]
    for style in subject.styles:
        url = signer.url(image, style=style)
        base, _, query = url.partition("?")
        attempts.append((f"style {style}: an unsigned rule after", f"{url}&{_OTHER_RULE}="))
        attempts.append((f"style {style}: an unsigned rule before", f"{base}?{_OTHER_RULE}=&{query}"))
    all_refused = True
    for title, attempt in attempts:
        reply = await send(attempt)
        all_refused &= reply.status == 403
        note = ", the original" if reply.status == 200 and reply.checksum == original.checksum else ""
        if subject.is_strict:
            expected = "403, as cos.unsigned_parameters says"
            yield judged(title, expected, reply, is_right=reply.status == 403, note=note)
        else:
            yield recorded(title, reply, note=note)
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
