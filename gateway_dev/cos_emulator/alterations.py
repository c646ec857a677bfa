"""Alterations of ``faults``, applied to an answer before it is sent."""

import gzip

from gateway_dev.cos_emulator.answer import Answer, answer_refusal, common_headers
from gateway_dev.cos_emulator.faults import Alteration, Change, Gzip, Headers, Html, Redirect, Refuse
from gateway_dev.cos_emulator.refusals import Refusal
from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.store import ObjectStore


async def change_object(store: ObjectStore, bucket: str, key: str, change: Change, *, now: float) -> None:
    """Change the object before the look-up for the answer. Keep its content type and its own headers.

    ``now`` (Unix seconds) becomes Last-Modified.
    """
    if change.run is not None:
        change.run(bucket, key)
        return
    stored = await store.find(bucket, key)
    store.put(
        bucket,
        key,
        change.data,
        content_type=stored.content_type if stored else None,
        headers=stored.headers if stored else None,
        last_modified=now,
    )


async def alter(answer: Answer, alteration: Alteration, request: CosRequest, *, now: float) -> Answer:
    """Return the answer after the alteration. ``now`` (Unix seconds) is the Date of a new answer."""
    match alteration:
        case Refuse(status=status, code=code, message=message):
            refused = answer_refusal(request, Refusal(status, code, message), now=now)
            refused.headers.update(alteration.headers)
            return refused
        case Html(body=page):
            body = page.encode() if request.method == "GET" else b""
            return Answer.whole(200, {**common_headers(now), "Content-Type": "text/html; charset=utf-8"}, body)
        case Redirect(location=location, status=status):
            return Answer.whole(status, {**common_headers(now), "Location": location})
        case Gzip() if answer.status != 304:  # a 304 has no body to compress
            plain = b"".join([piece async for piece in answer.content.pieces(answer.start, answer.stop)])
            answer.headers["Content-Encoding"] = "gzip"
            return Answer.whole(answer.status, answer.headers, gzip.compress(plain))
        case Headers(remove=names, add=pairs):
            for name in names:
                answer.headers.popall(name, None)
            answer.headers.extend(pairs)
    return answer  # change_object() applied a Change before the look-up
