"""The picture that browsers get as the body of an error if they requested an image (``image_proxy.fallback``)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from aiohttp import hdrs, web

from gateway.delivery.accept import accepts_image
from gateway.delivery.headers import CONTENT_SECURITY_POLICY
from gateway.errors import GatewayError

# Error responses are outside of server.max_streams, so each must fit into the buffers of its connection.
MAX_BYTES: Final = 64 * 1024
_SVG = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg[\s/>]", re.DOTALL
)
_SIGNATURES: Mapping[str, re.Pattern[bytes]] = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/avif": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "image/svg+xml": _SVG,
}
_READ_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})


class UnusablePicture(Exception):
    """The configured file is no usable picture to send in place of errors. The message names the setting."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"image_proxy.fallback.path: {reason}")


@dataclass(frozen=True, slots=True)
class FallbackPicture:
    """A picture in memory that browsers get instead of an error with one of ``statuses``."""

    body: bytes
    content_type: str
    statuses: Collection[int]

    @classmethod
    def read(cls, path: str, statuses: Collection[int]) -> Self:
        """Read the picture from a file. Blocks. Raises ``UnusablePicture``."""
        body = _read(path)
        content_type = next((name for name, signature in _SIGNATURES.items() if signature.match(body)), None)
        if content_type is None:
            raise UnusablePicture("must be a PNG, JPEG, GIF, WebP, AVIF or SVG file")
        return cls(body, content_type, frozenset(statuses))

    def response(self, error: GatewayError) -> web.Response:
        """Return the error with the picture as its body. ``X-Error-Code`` has the code that JSON would have."""
        return web.Response(
            status=error.status,
            body=self.body,
            content_type=self.content_type,
            headers={
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "Vary": "Accept, Sec-Fetch-Dest",
                "X-Error-Code": error.code,
                **error.headers,
            },
        )


def stands_in_for(error: GatewayError, statuses: Collection[int], method: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request for an image gets the picture of these statuses in place of the error's JSON."""
    return error.status in statuses and method in _READ_METHODS and accepts_image(headers)


def _read(path: str) -> bytes:
    try:
        if not Path(path).is_file():  # a device or a pipe would block, or never end; a path with NUL is no file
            raise UnusablePicture("there is no such file")
        with Path(path).open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnusablePicture(error.strerror or type(error).__name__) from error
    if len(body) > MAX_BYTES:
        raise UnusablePicture(f"must be at most {MAX_BYTES} bytes")
    return body
