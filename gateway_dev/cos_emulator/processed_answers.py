"""Answers for processed images, and the options of processing: each way that COS may behave where its documents are
silent or differ.

The defaults are the emulator's behaviour without options. ``PUT /.emulator/processing`` replaces the options.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, ConfigDict

from gateway_dev.cos_emulator import refusals
from gateway_dev.cos_emulator.answer import Answer, AnswerObject
from gateway_dev.cos_emulator.image_rules import Rule
from gateway_dev.cos_emulator.imaging import ImageProcessor
from gateway_dev.cos_emulator.refusals import Refusal
from gateway_dev.cos_emulator.request import CosRequest
from gateway_dev.cos_emulator.store import StoredObject

_CONDITIONS = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")


class ProcessingOptions(BaseModel):
    """Options for every processed answer. The original itself is always answered as documented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors: Literal["refuse", "original"] = "refuse"
    """For an original that cannot be processed: 400 (doc 7730), or the original (developer article 1751091)."""
    avif_off: frozenset[str] = frozenset()
    """Buckets whose switch for AVIF is off (1246/109218): a rule with ``format/avif`` is 400 there."""
    crc: Literal["absent", "original", "result"] = "absent"
    """Whose CRC the header x-cos-hash-crc64ecma contains."""
    etag: Literal["result", "original", "absent"] = "result"
    """Whose ETag is sent."""
    head: Literal["result", "original"] = "result"
    """What HEAD describes: the answer of GET, or the original, as if there were no rule."""
    conditions: Literal["obeyed", "ignored"] = "obeyed"
    """Whether If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since have an effect."""
    range: Literal["obeyed", "ignored"] = "obeyed"
    """Whether Range has an effect."""
    length: Literal["known", "chunked"] = "known"
    """Whether the answer has a Content-Length; if not, it has chunks."""


@dataclass
class Processing:
    """Holder of the options in force, which may be replaced at any time."""

    options: ProcessingOptions = field(default_factory=ProcessingOptions)


@dataclass(frozen=True, slots=True)
class ProcessedAnswers:
    """Answers for objects that a rule applies to."""

    images: ImageProcessor
    processing: Processing

    async def answer(
        self, request: CosRequest, bucket: str, original: StoredObject, rule: Rule, answer_object: AnswerObject
    ) -> Answer:
        """Return the result of the rule, or the original if the options say so. Raises Refusal, OSError.

        ``answer_object`` makes the answer for an object.
        """
        options = self.processing.options
        if request.method == "HEAD" and options.head == "original":
            return await answer_object(request, original)
        try:
            if rule.kind == "AVIF" and bucket in options.avif_off:
                raise refusals.avif_not_enabled()
            result = await self.images.process(original, rule)
        except Refusal:
            if rule.ignore_error or options.errors == "original":
                return await answer_object(request, original)
            raise
        answer = await answer_object(_effective(request, options), await _described(result, original, options))
        answer.is_chunked = options.length == "chunked"
        return answer


async def _described(result: StoredObject, original: StoredObject, options: ProcessingOptions) -> StoredObject:
    """Return the result with the CRC and ETag that the options say."""
    if options.crc == "original":
        result = replace(result, has_crc=original.has_crc, crc64=(await original.content.digests()).crc64)
    elif options.crc == "result":
        result = replace(result, has_crc=True)
    if options.etag == "original":
        return replace(result, etag=original.etag or (await original.content.digests()).md5)
    return replace(result, has_etag=options.etag == "result")


def _effective(request: CosRequest, options: ProcessingOptions) -> CosRequest:
    """Return the request without the headers that the options ignore."""
    ignored = [*(_CONDITIONS if options.conditions == "ignored" else ()), *(["Range"] * (options.range == "ignored"))]
    headers = CIMultiDict(request.headers)
    for name in ignored:
        headers.popall(name, None)
    return replace(request, headers=CIMultiDictProxy(headers))
