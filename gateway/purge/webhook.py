"""A webhook: a POST of JSON names the images, their addresses and their cache tags."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.purge.target import Addresses, PurgeRefused, TargetUnavailable

_MOST_IMAGES: Final = 200
_MOST_ADDRESSES: Final = 1000
# The content is at fault, not the service: 400, 413 (Content Too Large), 422 (RFC 9110 section 15.5).
_REFUSED: Final = frozenset({400, 413, 422})
_CONNECT_TIMEOUT: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Webhook:
    """Sends purges of images to the operator's ``url``. ``token`` is the bearer token of these requests."""

    http: BoundedHttp
    url: str
    addresses: Addresses
    token: str | None = field(default=None, repr=False)

    @property
    def most(self) -> int:
        return max(1, min(_MOST_IMAGES, _MOST_ADDRESSES // max(1, self.addresses.per_image)))

    async def purge(self, image_ids: Sequence[str]) -> None:
        authorization = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        headers = {"Content-Type": "application/json", **authorization}
        body = {
            "image_ids": list(image_ids),
            "urls": list(chain.from_iterable((await self.addresses.of_images(image_ids)).values())),
            "cache_tags": [f"image-{image_id}" for image_id in image_ids],
        }
        try:
            await self.http.post(self.url, headers, json.dumps(body).encode())
        except ServiceUnavailable as error:
            if error.status in _REFUSED:
                raise PurgeRefused(str(error)) from error
            raise TargetUnavailable(str(error)) from error

    async def examine(self) -> str:
        """Open a connection and send nothing: a request would be a purge."""
        parts = urlsplit(self.url)
        host, is_encrypted = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_encrypted else 80)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _, writer = await asyncio.open_connection(host, port, ssl=is_encrypted or None)
        except OSError as error:
            raise TargetUnavailable(f"{host} cannot be reached: {error or 'no answer'}") from error
        writer.transport.abort()  # over TLS, a service that does not answer the farewell would be waited for
        with suppress(OSError):
            await writer.wait_closed()
        return f"{host} accepts connections; whether it accepts purges is not tried"
