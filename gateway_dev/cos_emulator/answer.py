"""Answers: COS's statuses and headers for objects and errors (doc 7753, 7745)."""

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from multidict import CIMultiDict

from gateway_dev.cos_emulator.conditions import Outcome, evaluate, parse_range
from gateway_dev.cos_emulator.content import Content, MemoryContent
from gateway_dev.cos_emulator.refusals import Refusal, invalid_argument, precondition_failed
from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.store import StoredObject

_OVERRIDES = {
    f"response-{name.lower()}": name
    for name in (
        "Content-Type",
        "Content-Language",
        "Expires",
        "Cache-Control",
        "Content-Disposition",
        "Content-Encoding",
    )
}


AnswerObject = Callable[[CosRequest, StoredObject], Awaitable["Answer"]]
"""Makes the answer for an object; raises Refusal, OSError."""


@dataclass(slots=True)
class Answer:
    """Status, headers and bytes [start, stop) of ``content``. ``delivery`` adds the framing headers."""

    status: int
    headers: CIMultiDict[str]
    content: Content
    start: int
    stop: int
    is_chunked: bool = False
    """Whether the length is unknown to the client: chunks instead of Content-Length."""

    @property
    def length(self) -> int:
        return self.stop - self.start

    @classmethod
    def whole(cls, status: int, headers: Mapping[str, str], body: bytes = b"") -> "Answer":
        """Return an answer with the body in memory."""
        return cls(status, CIMultiDict(headers), MemoryContent(body), 0, len(body))


def common_headers(now: float) -> CIMultiDict[str]:
    """Return the headers of every answer. ``now`` (Unix seconds) sets Date, by which SDKs correct their clocks."""
    return CIMultiDict(
        {"Date": formatdate(now, usegmt=True), "Server": "tencent-cos", "x-cos-request-id": _request_id(now)}
    )


async def answer_object(request: CosRequest, stored: StoredObject, *, now: float, force_download: bool) -> Answer:
    """Return the 200, 206 or 304. Raises Refusal for 400, 412 and 416, OSError if the bytes cannot be read."""
    is_get = request.method == "GET"
    etag = await stored.quoted_etag()
    headers = common_headers(now)
    outcome = evaluate(request.headers, etag, stored.last_modified)
    if outcome is Outcome.FAILED:
        raise precondition_failed()
    if outcome is Outcome.NOT_MODIFIED:
        # COS's samples show ETag without Last-Modified on the 304 of a GET, and neither on the 304 of a HEAD.
        if is_get:
            headers["Content-Type"] = stored.content_type
            if etag is not None:
                headers["ETag"] = etag
        return Answer.whole(304, headers)
    headers.update(
        {
            "Content-Type": stored.content_type,
            **({} if etag is None else {"ETag": etag}),
            "Last-Modified": formatdate(stored.last_modified, usegmt=True),
            **stored.headers,
        }
    )
    if stored.has_crc:
        # A 206 also carries the CRC of the whole object.
        crc = (await stored.content.digests()).crc64 if stored.crc64 is None else stored.crc64
        headers["x-cos-hash-crc64ecma"] = str(crc)
    if is_get:
        headers["Accept-Ranges"] = "bytes"
        headers.update(_overrides(request))
        if force_download:
            # On default domains of buckets made since 2024-01-01 this outranks metadata and override.
            headers.update({"Content-Disposition": "attachment", "x-cos-force-download": "true"})
    size = stored.content.size
    requested = parse_range(request.headers.get("Range"), size)
    if requested is None:
        return Answer(200, headers, stored.content, 0, size)
    headers["Content-Range"] = requested.content_range
    return Answer(206, headers, stored.content, requested.start, requested.stop)


def answer_refusal(request: CosRequest, refusal: Refusal, *, now: float) -> Answer:
    """Return the error answer in COS's form, without a body for HEAD."""
    headers = common_headers(now)
    trace_id = base64.b64encode(secrets.token_bytes(48)).decode()
    headers.update({"Content-Type": "application/xml", "x-cos-trace-id": trace_id})
    body = refusal.xml(resource=request.host + request.path, request_id=headers["x-cos-request-id"], trace_id=trace_id)
    return Answer.whole(refusal.status, headers, b"" if request.method == "HEAD" else body)


def _overrides(request: CosRequest) -> dict[str, str]:
    overrides = {_OVERRIDES[name]: value for name, value in reversed(request.query) if name in _OVERRIDES}
    if not all(value.isprintable() for value in overrides.values()):
        raise invalid_argument("A response-* parameter is not allowed in a header.")
    return overrides


def _request_id(now: float) -> str:
    return base64.b64encode(f"{int(now):x}_{secrets.token_hex(8)}".encode()).decode()
