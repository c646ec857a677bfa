"""Probes 6 to 8: ranges, conditions, and the whole object."""

from collections.abc import AsyncIterator

from gateway.checks.deep.probe import Result, Subject, Verdict, judged, recorded

_OTHER_ETAG = '"00000000000000000000000000000000"'


async def ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 6: every form of a range."""
    url, send = subject.signer.url(subject.image), subject.session.send
    size = (await send(url)).metadata.size or 0
    for text, right in (
        ("0-0", {206}),
        ("-1", {206}),
        ("0-", {200, 206}),
        (f"0-{max(0, size - 1)}", {200, 206}),
    ):
        reply = await send(url, headers={"Range": f"bytes={text}"})
        expected = " or ".join(map(str, sorted(right)))
        title = "Range 0-last" if text.startswith("0-") and len(text) > 2 and text != "0-0" else f"Range {text}"
        yield judged(6, title, expected, reply, is_right=reply.status in right)
    yield recorded(6, "two ranges", "recorded", await send(url, headers={"Range": "bytes=0-0,2-2"}))
    reply = await send(url, headers={"Range": f"bytes={size + 10}-"})
    has_size = reply.content_range == f"bytes */{size}"
    note = "" if has_size else f", Content-Range {reply.content_range or 'missing'}"
    result = judged(6, "Range past the end", "416 with */size", reply, is_right=reply.status == 416, note=note)
    if reply.status == 416 and not has_size:  # the gateway then asks for the size by HEAD
        result = Result(6, result.title, result.expected, result.got, Verdict.RECORDED, result.request_id)
    yield result


async def conditional_ranges(subject: Subject) -> AsyncIterator[Result]:
    """Probe 7: a range with a condition, on which resuming depends."""
    url, send = subject.signer.url(subject.image), subject.session.send
    etag = (await send(url)).metadata.etag or ""
    first_byte = {"Range": "bytes=0-0"}
    reply = await send(url, headers={**first_byte, "If-Match": etag})
    is_right = reply.status == 206 and reply.metadata.etag == etag
    yield judged(7, "Range, right If-Match", "206 of the same ETag", reply, is_right=is_right)
    reply = await send(url, headers={**first_byte, "If-Match": _OTHER_ETAG})
    yield judged(7, "Range, wrong If-Match", "412", reply, is_right=reply.status == 412)
    reply = await send(url, headers={**first_byte, "If-None-Match": etag})
    yield judged(7, "Range, If-None-Match", "304", reply, is_right=reply.status == 304)


async def whole_object(subject: Subject) -> AsyncIterator[Result]:
    """Probe 8: every byte, and the header fields that describe them."""
    url, send = subject.signer.url(subject.image), subject.session.send
    reply = await send(url)
    note = f", {reply.received} bytes"
    yield judged(8, "length", "as announced", reply, is_right=reply.received == reply.metadata.size, note=note)
    if reply.crc64 is None:
        yield recorded(8, "CRC-64", "that of the bytes", reply, note=", none announced")
    else:
        yield judged(8, "CRC-64", "that of the bytes", reply, is_right=reply.crc64 == reply.checksum)
    strong = reply.metadata.strong_etag
    yield judged(8, "ETag", "strong", reply, is_right=strong is not None)
    revalidated = await send(url, headers={"If-None-Match": strong or ""})
    given = revalidated.metadata.content_type
    yield recorded(8, "type in a 304", "recorded", revalidated, note=f", {given or 'none'}")
    forced = ", x-cos-force-download" if reply.is_forced_download else ", not forced"
    yield recorded(8, "forced download", "recorded", reply, note=forced)
