"""Sending the client to COS itself."""

from aiohttp import web
from multidict import CIMultiDict

from gateway.delivery.headers import CORS, PRIVATE_VARY
from gateway.urls.presigned import SignedImage

_CORS = CIMultiDict(CORS)


def redirect_to(url: str, image: SignedImage, *, max_age: int) -> web.Response:
    """A 302 to the presigned ``url``, cacheable for ``max_age`` seconds, which must be less than the URL lives.

    The Location is set by hand: ``HTTPFound`` quotes a signed URL again and so breaks its signature.
    """
    visibility = "public" if image.record.public else "private"
    headers = _CORS.copy()
    headers["Location"] = url
    headers["Cache-Control"] = f"{visibility}, max-age={max_age}"
    if not image.record.public:
        headers["Vary"] = PRIVATE_VARY
    return web.Response(status=302, headers=headers)
