"""The way to one image's object: by presigned URL, renewed once when COS refuses it."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs

from gateway.errors import CredentialsExpired, ImageBlocked, ImageNotFound, OriginRefused
from gateway.origin.client import OriginClient
from gateway.origin.errors import ObjectMoved, PresignedUrlRefused
from gateway.origin.refusals import OriginRejected
from gateway.origin.response import OriginResponse
from gateway.urls.presigned import ObjectId, PresignedUrl, SignedImage

logger = logging.getLogger(__name__)

# The image whose URL was refused, and COS's own time then, in Unix seconds; None unless COS says that the time is why.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


class Door:
    """Opens the object of ``image`` any number of times; ``renewed`` is what took its place once a URL was refused.

    ``gone`` is told when COS has no such object, or may not give it out.
    """

    __slots__ = ("_client", "_gone", "_renew", "_sign_for_head", "image", "object_id", "renewed")

    def __init__(
        self,
        client: OriginClient,
        image: SignedImage,
        renew: Renew,
        sign_for_head: SignForHead,
        gone: Callable[[ObjectId], None],
    ) -> None:
        self.image = image
        self.renewed: SignedImage | None = None
        self.object_id = image.object_id
        self._client = client
        self._renew = renew
        self._sign_for_head = sign_for_head
        self._gone = gone

    async def open(self, headers: Mapping[str, str], method: str = "GET") -> OriginResponse:
        """An open answer.

        Raises what ``OriginClient.fetch`` and ``renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``ObjectMoved`` when the row has come to name another object.
        """
        try:
            try:
                return await self._fetch(method, headers)
            except PresignedUrlRefused as refusal:
                logger.info("COS refused a URL, which is renewed: image=%s reason=%s", self.image_id, refusal)
                renewed = await self._renew(self.image, refusal.error.clock)
            if renewed.object_id != self.object_id:
                raise ObjectMoved
            self.image = self.renewed = renewed
            try:
                return await self._fetch(method, headers)
            except PresignedUrlRefused as error:
                outcome = CredentialsExpired if error.error.code == "ExpiredToken" else OriginRefused
                raise outcome(f"a URL signed this moment: {error}") from error
        except (ImageNotFound, ImageBlocked) as error:
            logger.info("COS has no such object: image=%s reason=%s", self.image_id, error)
            self._gone(self.object_id)
            raise

    @property
    def image_id(self) -> str:
        """The image's id, for the log."""
        return self.image.record.image_id

    async def _fetch(self, method: str, headers: Mapping[str, str]) -> OriginResponse:
        response = await (self._fetch_head(headers) if method == hdrs.METH_HEAD else self._fetch_body(headers))
        if self.object_id.style is not None:
            response.ignore_checksum()
        return response

    def _fetch_body(self, headers: Mapping[str, str]) -> Awaitable[OriginResponse]:
        return self._client.fetch(self.image.presigned.url, self.object_id.bucket, hdrs.METH_GET, headers)

    async def _fetch_head(self, headers: Mapping[str, str]) -> OriginResponse:
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        url = self._sign_for_head(self.image).url
        try:
            return await self._client.fetch(url, self.object_id.bucket, hdrs.METH_HEAD, headers)
        except (PresignedUrlRefused, ImageNotFound, OriginRejected) as error:
            answer = error
        # COS's error to a HEAD has no body, hence no code: a GET of the first byte is refused for the same reason.
        (await self._fetch_body({"Range": "bytes=0-0"})).close()
        raise answer
