"""Ask COS for the size and the colour of an image (``imageInfo``, ``imageAve``: document 460/6928), and a tiny copy."""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from gateway.catalog.record import ImageMetadata, ImageRecord, side_of
from gateway.errors import GatewayError, ImageNotFound, ImageTooLarge, OriginRejected
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import BodyLost, PresignedUrlRefused, VersionChanged
from gateway.origin.origin_response import read_at_most
from gateway.presign.signed_image import PresignedUrl

_TIMEOUT: Final = 2.0  # seconds
_LONGEST_ANSWER: Final = 16 * 1024  # bytes
_TINY: Final = "imageMogr2/auto-orient/thumbnail/16x16/strip/format/webp/quality/40"
_LONGEST_TINY: Final = 1024  # bytes
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_COLOR = re.compile(r"0x([0-9a-fA-F]{6})")
# Final answers of COS: the object is missing, or cannot be processed. The request is not repeated.
_FINAL: Final = (ImageNotFound, ImageTooLarge, OriginRejected)


class ImageProbe:
    """Asks COS about images.

    sign: makes a URL for a rule.
    wants_placeholder: whether COS makes the placeholder of an image.
    """

    def __init__(
        self,
        client: OriginClient,
        sign: Callable[[ImageRecord, str], PresignedUrl],
        wants_placeholder: Callable[[ImageRecord], bool],
    ) -> None:
        self._client = client
        self._sign = sign
        self._wants_placeholder = wants_placeholder

    async def describe(self, record: ImageRecord) -> ImageMetadata | None:
        """Return COS's description, with None for unknown values, or None if it does not answer within 2 s."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                info, average, placeholder = await self._all(record)
        except (GatewayError, PresignedUrlRefused, VersionChanged, BodyLost, TimeoutError):
            return None
        return ImageMetadata(
            _side(info.get("width")), _side(info.get("height")), _color(average.get("RGB")), placeholder
        )

    async def _all(self, record: ImageRecord) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return COS's answers to the rules. A failure of a request ends the others."""
        try:
            async with asyncio.TaskGroup() as tasks:
                info = None if record.has_size else tasks.create_task(self._facts(record, "imageInfo"), name="info")
                average = tasks.create_task(self._facts(record, "imageAve"), name="average")
                placeholder = tasks.create_task(self._placeholder(record), name="placeholder")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return info.result() if info is not None else {}, average.result(), placeholder.result()

    async def _placeholder(self, record: ImageRecord) -> str | None:
        """Return a tiny copy as a data URL, empty if COS makes none, or None if none is wanted."""
        if not self._wants_placeholder(record):
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
        url = self._sign(record, rule).url
        try:
            response = await self._client.fetch(url, record.bucket, is_processed=True)
        except _FINAL:
            return b""
        with closing(response):
            return await read_at_most(response.read, longest) or b""


def _side(value: Any) -> int | None:
    """Return a width or height, which COS sends as a string of digits."""
    text = str(value)
    return side_of(int(text)) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else None


def _color(value: Any) -> str | None:
    found = _COLOR.fullmatch(value) if isinstance(value, str) else None
    return f"#{found[1].lower()}" if found is not None else None
