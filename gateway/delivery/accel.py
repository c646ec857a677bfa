"""nginx moves the bytes: the gateway decides, and names the object by its presigned URL (X-Accel-Redirect).

nginx decodes the URI of an X-Accel-Redirect, which breaks the signature of most awkward keys. So that URI is only the
name of one version of an object, which nginx may cache under it; the exact URL stands in a header of its own.
"""

import hashlib

from aiohttp import web

from gateway.delivery import cache_status
from gateway.delivery.headers import image_headers
from gateway.delivery.image_request import ImageRequest
from gateway.delivery.plan import NOT_MODIFIED, plan_for
from gateway.delivery.stream import ImageStream, ViewAgain
from gateway.origin.errors import ObjectMoved
from gateway.origin.facts import ObjectFacts, ObjectId
from gateway.origin.memory_cache import Entry
from gateway.origin.source import ObjectSource
from gateway.urls.presigned import SignedImage

# nginx sets it when COS did not give it the object: the gateway then streams, with all it knows of failures.
FAILED = "X-Accel-Failed"


class ImageAccel:
    """Answers what needs no bytes by itself, and hands everything else over to nginx."""

    def __init__(self, source: ObjectSource, stream: ImageStream, *, prefix: str, max_age: int) -> None:
        self._source = source
        self._stream = stream
        self._prefix = prefix
        self._max_age = max_age

    async def answer(
        self, request: web.Request, wanted: ImageRequest, image: SignedImage, *, view_again: ViewAgain
    ) -> web.StreamResponse:
        """A 304, the headers of a HEAD, or an ``X-Accel-Redirect``; raises what ``ImageStream.answer`` raises.

        What is not known of the object is asked of COS once in a while, by a HEAD: so errors are the gateway's own,
        nothing but images is handed over, and a URL that COS refuses is renewed before nginx meets it.
        """
        if request.method == "HEAD" or FAILED in request.headers:
            return await self._stream.answer(request, wanted, image, view_again=view_again)
        known = self._source.known(image)
        status = cache_status.forwarded(200)
        if known is not None:
            status = cache_status.hit(self._source.freshness(known))
        else:
            try:
                renewed, known = await self._source.look(image)
            except ObjectMoved:
                return await self._stream.answer(request, wanted, await view_again(), view_again=view_again)
            if renewed is not None:
                image = await view_again()
        return self._handed_over(request, wanted, image, known, status)

    def _handed_over(
        self, request: web.Request, wanted: ImageRequest, image: SignedImage, known: Entry, status: str
    ) -> web.Response:
        plan = plan_for(request.headers, wanted.byte_range, known.facts)
        headers = image_headers(
            image.record,
            known.facts,
            max_age=self._max_age,
            download=wanted.download,
            with_body=plan is not NOT_MODIFIED,
        )
        headers["Cache-Status"] = status
        if plan is NOT_MODIFIED:
            return web.Response(status=304, headers=headers)
        del headers["Accept-Ranges"]  # nginx would keep it, and send COS's beside it
        # A range of a large object is asked of COS; of a small one, nginx cuts it out of the whole that it keeps.
        is_part = plan.status == 206 and not self._source.keeps(known.facts.size)
        headers["X-Accel-Redirect"] = f"{self._prefix}{'part/' if is_part else ''}{_version(image, known.facts)}"
        headers["X-Origin-URL"] = image.presigned.url
        if known.facts.strong_etag is not None:
            headers["X-Origin-ETag"] = known.facts.strong_etag  # sent as If-Match: what is cached is this version
        return web.Response(headers=headers)


def _version(image: SignedImage, facts: ObjectFacts) -> str:
    """One name for one version of one object: what nginx caches it under. Never the URL, which changes."""
    named = "\n".join((*map(str, ObjectId.of(image)), str(facts.etag), str(facts.last_modified), str(facts.size)))
    return hashlib.sha256(named.encode()).hexdigest()[:40]
