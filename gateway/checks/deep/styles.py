"""Probes 9 to 11: processed images."""

from collections.abc import AsyncIterator

from gateway.checks.deep.probe import Result, Subject, judged, recorded, skipped
from gateway.checks.deep.session import Reply


async def processed(subject: Subject) -> AsyncIterator[Result]:
    """Probe 9: each style by GET."""
    if not subject.styles:
        yield skipped(9, "styles", "image_styles is empty")
        return
    original = await subject.session.send(subject.signer.url(subject.image))
    for style in subject.styles:
        reply = await subject.session.send(subject.signer.url(subject.image, style=style))
        is_right = reply.status == 200 and reply.is_image and reply.is_whole
        length = "chunks" if reply.is_chunked else f"{reply.received} bytes"
        note = f", {reply.metadata.content_type or 'no type'}, {length}"
        yield judged(9, f"style {style}: GET", "200 image, length or chunks", reply, is_right=is_right, note=note)
        if reply.status == 200:
            yield recorded(9, f"style {style}: CRC-64", "recorded", reply, note=f", {_crc_of(reply, original)}")


async def processed_conditions(subject: Subject) -> AsyncIterator[Result]:
    """Probe 10: each style by HEAD, with a condition and as a range."""
    if not subject.styles:
        yield skipped(10, "styles", "image_styles is empty")
        return
    signer, send = subject.signer, subject.session.send
    for style in subject.styles:
        url = signer.url(subject.image, style=style)
        got = await send(url)
        head = await send(signer.url(subject.image, style=style, method="HEAD"), "HEAD")
        is_right = head.status == got.status and head.metadata.etag == got.metadata.etag
        yield judged(10, f"style {style}: HEAD", "as its GET", head, is_right=is_right)
        etag = got.metadata.etag
        if etag is None:
            yield recorded(10, f"style {style}: conditions", "304", got, note=", no ETag")
            continue
        reply = await send(url, headers={"If-None-Match": etag})
        yield judged(10, f"style {style}: If-None-Match", "304", reply, is_right=reply.status == 304)
        reply = await send(url, headers={"Range": "bytes=0-0", "If-Match": etag})
        yield judged(
            10, f"style {style}: Range, If-Match", "206 or 412", reply, is_right=reply.status in (200, 206, 412)
        )


async def unprocessable(subject: Subject) -> AsyncIterator[Result]:
    """Probe 11: objects that no style can process."""
    style = next(iter(subject.styles), None)
    for title, key in (("oversized", subject.oversized), ("not an image", subject.not_image)):
        option = f"--{title.replace('an ', '').replace(' ', '-')}"
        if key is None or style is None:
            yield skipped(11, title, f"needs {option} KEY and a style")
            continue
        image = subject.of_key(key)
        original = await subject.session.send(subject.signer.url(image))
        reply = await subject.session.send(subject.signer.url(image, style=style))
        is_original = reply.status == 200 and reply.checksum == original.checksum
        expected = "400 with its code, or the original"
        is_right = (reply.status == 400 and reply.code is not None) or is_original
        note = ", the original" if is_original else ""
        if is_right:
            yield recorded(11, title, expected, reply, note=note)
        else:
            yield judged(11, title, expected, reply, is_right=False, note=note)


def _crc_of(reply: Reply, original: Reply) -> str:
    if reply.crc64 is None:
        return "absent"
    if reply.crc64 == reply.checksum:
        return "of the result"
    return "of the original" if reply.crc64 == original.checksum else "of neither"
