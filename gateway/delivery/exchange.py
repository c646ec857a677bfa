"""A request for an image, and what its delivery needs of whoever took it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import NamedTuple

from aiohttp import hdrs, web

from gateway.delivery.conditional import is_conditional
from gateway.delivery.image_request import ImageRequest
from gateway.urls.presigned import SignedImage


class Exchange(NamedTuple):
    """``stamp`` must be called on the headers of an answer before it is sent piece by piece.

    ``view_again`` looks the image up and checks access anew: it is asked when a refused URL led to a row that has
    changed meanwhile, and raises as the first look did.
    """

    request: web.BaseRequest
    wanted: ImageRequest
    stamp: Callable[[MutableMapping[str, str]], None]
    view_again: Callable[[], Awaitable[SignedImage]]

    @property
    def is_head(self) -> bool:
        """Whether the headers alone are wanted."""
        return self.request.method == hdrs.METH_HEAD

    @property
    def byte_range(self) -> str | None:
        """The one range wanted. GET alone has ranges (RFC 9110 section 14.2)."""
        return None if self.is_head else self.wanted.byte_range

    @property
    def is_plain(self) -> bool:
        """Whether it is a GET of the whole under no condition, as most are."""
        return (
            self.wanted.byte_range is None
            and self.request.method == hdrs.METH_GET
            and not is_conditional(self.request.headers)
        )
