"""A request for an image, and what its delivery needs of whoever took it."""

from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from gateway.delivery.image_request import ImageRequest
from gateway.delivery.preconditions import is_conditional
from gateway.presign.presigned_url import SignedImage


class Exchange:
    """``stamp`` must be called on an answer before any of it is sent.

    ``view_again`` looks the image up and checks access anew: it is asked when a refused URL led to a row that has
    changed meanwhile, and raises as the first look did. ``is_head``: the headers alone are wanted; ``is_plain``: it is
    a GET of the whole under no condition, as most are. ``byte_range`` is the one range wanted, None for the whole.
    """

    __slots__ = ("byte_range", "is_head", "is_plain", "request", "stamp", "view_again", "wanted")

    def __init__(
        self,
        request: web.BaseRequest,
        wanted: ImageRequest,
        stamp: Callable[[web.StreamResponse], None],
        view_again: Callable[[], Awaitable[SignedImage]],
    ) -> None:
        self.request = request
        self.wanted = wanted
        self.stamp = stamp
        self.view_again = view_again
        self.is_head = is_head = request.method == hdrs.METH_HEAD
        # GET alone has ranges (RFC 9110 section 14.2).
        self.byte_range = byte_range = None if is_head else wanted.byte_range
        self.is_plain = byte_range is None and not is_head and not is_conditional(request.headers)
