"""Probes 13 to 19: hosts, running transfers, idle connections, overrides, keys, long URLs, unsigned parameters."""

from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote, urlsplit

from gateway.checks.deep.probe import Result, Subject, Verdict, judged, recorded, said, skipped
from gateway.errors import OriginUnavailable

_SHORT_LIFE, _SLOW_READ = 20, 40  # seconds
_IDLE = (5, 20, 40, 70)  # seconds
_BUFFERED = 4 * 1024 * 1024  # bytes; a smaller object is received before the pause ends
_PADDED = 8192  # bytes
_OTHER_RULE = quote("imageMogr2/thumbnail/!100p", safe="")


async def hosts(subject: Subject) -> AsyncIterator[Result]:
    """Probe 13: the configured host, in lower and in mixed case."""
    url = subject.signer.url(subject.image)
    host = urlsplit(url).netloc
    reply = await subject.session.send(url)
    yield judged(13, "host in lower case", "200", reply, is_right=reply.status == 200)
    reply = await subject.session.send(url, headers={"Host": host.title()})
    yield recorded(13, "host in mixed case", "recorded", reply)


async def slow_read(subject: Subject) -> AsyncIterator[Result]:
    """Probe 14: a URL that expires while its body is read."""
    title, expected = f"a URL of {_SHORT_LIFE} s read for {_SLOW_READ} s", "whole"
    url = subject.signer.url(subject.image, life=_SHORT_LIFE)
    try:
        reply = await subject.session.send(url, pause=_SLOW_READ)
    except OriginUnavailable as error:
        yield Result(14, title, expected, f"cut: {error}", Verdict.FAIL)
        return
    if reply.received < _BUFFERED:
        yield recorded(14, title, expected, reply, note=f", {reply.received} bytes are too few to tell")
    else:
        yield judged(14, title, expected, reply, is_right=reply.is_whole)


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
    yield Result(15, "idle connections", "recorded", f"reused after {longest} s", Verdict.RECORDED)


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
        yield judged(16, title, "403, or the signed value", reply, is_right=is_right, note=note + warning)


async def awkward_keys(subject: Subject) -> AsyncIterator[Result]:
    """Probe 17: keys that clients often alter."""
    if not subject.keys:
        yield skipped(17, "keys", "needs --keys KEY for objects with space, +, %, Chinese, // or ./ in their keys")
    for number, key in enumerate(subject.keys, start=1):
        reply = await subject.session.send(subject.signer.url(subject.of_key(key)))
        yield judged(17, f"key {number}", "200", reply, is_right=reply.status == 200)


async def long_urls(subject: Subject) -> AsyncIterator[Result]:
    """Probe 18: unsigned padding, as long as the longest tokens."""
    url = subject.signer.url(subject.image)
    reply = await subject.session.send(f"{url}&padding={'x' * max(1, _PADDED - len(url) - 9)}")
    result = judged(18, "a URL of 8 kB", "200", reply, is_right=reply.status == 200)
    if reply.status != 200:
        result = replace(result, got=f"{said(reply)}: long tokens may fail", verdict=Verdict.WARN)
    yield result


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
            yield judged(19, title, expected, reply, is_right=reply.status == 403, note=note)
        else:
            yield recorded(19, title, "recorded", reply, note=note)
    if not subject.is_strict:
        found = "refused" if all_refused else "obeyed"
        yield Result(19, "cos.unsigned_parameters", "recorded", f"{found} is right", Verdict.RECORDED)
