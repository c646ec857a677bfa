"""Ask COS for the size and the average colour of an image: ``imageInfo`` and ``imageAve`` (document 460/6928)."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any, Final

from gateway.catalog.record import ImageDescription, ImageRecord, side_of
from gateway.errors import GatewayError, ImageNotFound, ImageTooLarge, OriginRejected
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost, PresignedUrlRefused, VersionChanged
from gateway.presign.signed_image import PresignedUrl

_TIMEOUT: Final = 2.0  # seconds
_LONGEST_ANSWER: Final = 16 * 1024  # bytes
_COLOR = re.compile(r"0x([0-9a-fA-F]{6})")
# Final answers of COS: the object is missing, or cannot be processed. The request is not repeated.
_FINAL: Final = (ImageNotFound, ImageTooLarge, OriginRejected)


class ImageProbe:
    """Asks COS about images. ``sign`` makes a URL for a rule."""

    def __init__(self, client: OriginClient, sign: Callable[[ImageRecord, str], PresignedUrl]) -> None:
        self._client = client
        self._sign = sign

    async def describe(self, record: ImageRecord) -> ImageDescription | None:
        """Return COS's description, with None for unknown values, or None if it does not answer within 2 s."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                info, average = await self._both(record)
        except (GatewayError, PresignedUrlRefused, VersionChanged, BodyLost, TimeoutError):
            return None
        return ImageDescription(_side(info.get("width")), _side(info.get("height")), _color(average.get("RGB")))

    async def _both(self, record: ImageRecord) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return COS's answers to both rules. A failure of either request ends the other."""
        try:
            async with asyncio.TaskGroup() as tasks:
                info = tasks.create_task(_nothing() if record.has_size else self._ask(record, "imageInfo"), name="info")
                average = tasks.create_task(self._ask(record, "imageAve"), name="average")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return info.result(), average.result()

    async def _ask(self, record: ImageRecord, rule: str) -> dict[str, Any]:
        """Return COS's answer to the rule. Empty if COS cannot process the image, or answers with something else."""
        url = self._sign(record, rule).url
        try:
            response = await self._client.fetch(url, record.bucket, is_processed=True)
        except _FINAL:
            return {}
        pieces: list[bytes] = []
        try:
            while piece := await response.read():
                pieces.append(piece)
                if sum(map(len, pieces)) > _LONGEST_ANSWER:
                    return {}
        finally:
            response.close()
        try:
            answer = json.loads(b"".join(pieces))
        except (ValueError, RecursionError):
            return {}
        return answer if isinstance(answer, dict) else {}


async def _nothing() -> dict[str, Any]:
    return {}


def _side(value: Any) -> int | None:
    """Return a width or height, which COS sends as a string of digits."""
    text = str(value)
    return side_of(int(text)) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else None


def _color(value: Any) -> str | None:
    found = _COLOR.fullmatch(value) if isinstance(value, str) else None
    return f"#{found[1].lower()}" if found is not None else None
