"""Ask COS for the size and the colour of an image (``imageInfo``, ``imageAve``: document 460/6928), and a tiny copy."""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from gateway.catalog.record import ImageMetadata, ImageRecord, side_of
from gateway.errors import GatewayError, ImageNotFound, ImageTooLarge, OriginRejected
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import BodyLost, ObjectReplaced, PresignedUrlRefused
from gateway.origin.origin_response import read_at_most
from gateway.presign.signer import PresignedUrl

_TIMEOUT: Final = 2.0  # seconds
_LONGEST_ANSWER: Final = 16 * 1024  # bytes
_TINY: Final = "imageMogr2/auto-orient/thumbnail/16x16/strip/format/webp/quality/40"
_LONGEST_TINY: Final = 1024  # bytes
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_COLOR = re.compile(r"0x([0-9a-fA-F]{6})")
# Final answers of COS: the object is missing, or cannot be processed. The request is not repeated.
_FINAL: Final = (ImageNotFound, ImageTooLarge, OriginRejected)


@dataclass(frozen=True, slots=True)
class ImageProbe:
    """Asks COS for an image's size, average colour and placeholder (a tiny copy).

    sign: makes a presigned URL with a processing rule.
    wants_placeholder: whether COS makes the placeholder of an image.
    """

    client: OriginClient
    sign: Callable[[ImageRecord, str], PresignedUrl]
    wants_placeholder: Callable[[ImageRecord], bool]

    async def describe(self, record: ImageRecord) -> ImageMetadata | None:
        """Return COS's description, with None for unknown values, or None if it does not answer within 2 s."""
        description = None
        try:
            # A failure of one request ends the others.
            async with asyncio.timeout(_TIMEOUT), asyncio.TaskGroup() as tasks:
                info = None if record.has_size else tasks.create_task(self._facts(record, "imageInfo"), name="info")
                average = tasks.create_task(self._facts(record, "imageAve"), name="average")
                placeholder = tasks.create_task(self._placeholder(record), name="placeholder")
            size = info.result() if info is not None else {}
            found = _COLOR.fullmatch(str(average.result().get("RGB")))
            color = f"#{found[1].lower()}" if found is not None else None
            sides = _side(size.get("width")), _side(size.get("height"))
            description = ImageMetadata(*sides, color, placeholder.result())
        except* (GatewayError, PresignedUrlRefused, ObjectReplaced, BodyLost, TimeoutError):
            pass
        return description

    async def _placeholder(self, record: ImageRecord) -> str | None:
        """Return a tiny copy as a data URL, empty if COS makes none, or None if none is wanted."""
        if not self.wants_placeholder(record):
            return None
        body = await self._ask(record, _TINY, _LONGEST_TINY)
        return f"data:image/webp;base64,{base64.b64encode(body).decode()}" if _WEBP.match(body) else ""

    async def _facts(self, record: ImageRecord, rule: str) -> dict[str, Any]:
        """Return the JSON of COS. Empty if it is something else."""
        try:
            answer = json.loads(await self._ask(record, rule, _LONGEST_ANSWER))
        except (ValueError, RecursionError):
            return {}
        return answer if isinstance(answer, dict) else {}

    async def _ask(self, record: ImageRecord, rule: str, longest: int) -> bytes:
        """Return COS's answer to the rule. Empty if COS cannot process the image, or if the answer is too long."""
        try:
            response = await self.client.fetch(self.sign(record, rule).url, record.bucket, is_processed=True)
        except _FINAL:
            return b""
        with closing(response):
            return await read_at_most(response.read, longest) or b""


def _side(value: Any) -> int | None:
    """Return a width or height, which COS sends as a string of digits."""
    text = str(value)
    return side_of(int(text)) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else None
