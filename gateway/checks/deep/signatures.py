"""Probes 1 to 5 and 12: reachability, missing objects, signatures, times, unsigned headers, tokens."""

import re
import secrets
from collections.abc import AsyncIterator

from gateway.checks.deep.probe import Result, Subject, Verdict, judged, recorded, skipped
from gateway.checks.deep.session import clock_difference, reach
from gateway.errors import OriginUnavailable

_SKEW = 30  # seconds
_SIGNATURE = re.compile(r"q-signature=([0-9a-f])")


async def reachability(subject: Subject) -> AsyncIterator[Result]:
    """Probe 1: addresses, certificate, clock."""
    expected = "addresses, a valid certificate, clocks under 30 s apart"
    try:
        found = await reach(subject.signer.base_of(subject.image), subject.timeout)
    except OriginUnavailable as error:
        yield Result(1, "DNS, TLS", expected, str(error), Verdict.FAIL)
        return
    tls = "no TLS" if found.certificate_until is None else "the certificate is valid"
    verdict = Verdict.OK if found.certificate_until is not None else Verdict.WARN
    yield Result(1, "DNS, TLS", expected, f"{', '.join(found.addresses)}; {tls}", verdict)
    difference = clock_difference(await subject.session.send(subject.signer.url(subject.image, method="HEAD"), "HEAD"))
    if difference is None:
        yield Result(1, "Date", expected, "no Date field", Verdict.WARN)
    else:
        verdict = Verdict.OK if abs(difference) < _SKEW else Verdict.FAIL
        yield Result(1, "Date", expected, f"{abs(difference):.0f} s apart", verdict)


async def missing_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 2: a key that does not exist."""
    reply = await subject.session.send(subject.signer.url(subject.of_key(f"check-{secrets.token_hex(16)}")))
    result = judged(
        2,
        "GET of a random key",
        "404 NoSuchKey",
        reply,
        is_right=(reply.status, reply.code) == (404, "NoSuchKey"),
        note=": no right to list, or a policy" if reply.status == 403 else "",
    )
    if reply.status == 403:
        result = Result(2, result.title, result.expected, result.got, Verdict.WARN, result.request_id)
    yield result


async def methods(subject: Subject) -> AsyncIterator[Result]:
    """Probe 3: a URL is signed for a single method."""
    image, signer = subject.image, subject.signer
    for title, signed, sent, status in (
        ("GET with a GET URL", "GET", "GET", 200),
        ("HEAD with a HEAD URL", "HEAD", "HEAD", 200),
        ("HEAD with a GET URL", "GET", "HEAD", 403),
    ):
        reply = await subject.session.send(signer.url(image, method=signed), sent)
        yield judged(3, title, str(status), reply, is_right=reply.status == status)


async def times(subject: Subject) -> AsyncIterator[Result]:
    """Probe 4: signatures that are altered, expired, or not valid yet."""
    image, signer, send = subject.image, subject.signer, subject.session.send
    altered = _SIGNATURE.sub(lambda found: f"q-signature={'1' if found[1] == '0' else '0'}", signer.url(image))
    reply = await send(altered)
    is_right = (reply.status, reply.code) == (403, "SignatureDoesNotMatch")
    yield judged(4, "altered signature", "403 SignatureDoesNotMatch", reply, is_right=is_right)
    reply = await send(signer.url(image, starts_in=-600, life=-300))
    is_right = reply.status == 403 and reply.error.is_expired
    yield judged(4, "expired", '403 "Request has expired"', reply, is_right=is_right)
    for minutes in (5, 20):
        reply = await send(signer.url(image, starts_in=minutes * 60, life=3600))
        yield recorded(4, f"starts in {minutes} minutes", "recorded", reply)


async def unsigned_headers(subject: Subject) -> AsyncIterator[Result]:
    """Probe 5: Range and conditions that are not signed."""
    url, send = subject.signer.url(subject.image), subject.session.send
    etag = (await send(url)).metadata.etag or '"unknown"'
    for name, value, status in (("Range", "bytes=0-0", 206), ("If-Match", etag, 200), ("If-None-Match", etag, 304)):
        reply = await send(url, headers={name: value})
        note = ": a strict-signature bucket" if reply.status == 403 else ""
        yield judged(5, f"unsigned {name}", str(status), reply, is_right=reply.status == status, note=note)


async def tokens(subject: Subject) -> AsyncIterator[Result]:
    """Probe 12: temporary credentials."""
    signer, image = subject.signer, subject.image
    if signer.token is None:
        yield skipped(12, "token", "the credentials are permanent")
        return
    for title, token in (("token right", signer.token), ("token altered", signer.token[::-1]), ("token missing", None)):
        reply = await subject.session.send(signer.with_token(token).url(image))
        if token == signer.token:
            yield judged(12, title, "200", reply, is_right=reply.status == 200)
        else:
            yield judged(12, title, "400 or 403", reply, is_right=reply.status in (400, 403))
