"""The way to one image's object: by presigned URL, renewed once when COS refuses it."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.errors import ImageBlocked, ImageNotFound, OriginRefused
from gateway.origin.client import OriginClient
from gateway.origin.errors import ObjectMoved, PresignedUrlRefused
from gateway.origin.response import OriginResponse
from gateway.urls.presigned import ObjectId, PresignedUrl, SignedImage

# The image whose URL was refused, and COS's own time then, in Unix seconds; None when it told none.
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
                return await self._client.fetch(self._url_for(method), self.object_id.bucket, method, headers)
            except PresignedUrlRefused as refusal:
                renewed = await self._renew(self.image, refusal.told_at)
            if renewed.object_id != self.object_id:
                raise ObjectMoved
            self.image = self.renewed = renewed
            try:
                return await self._client.fetch(self._url_for(method), self.object_id.bucket, method, headers)
            except PresignedUrlRefused as error:
                raise OriginRefused("COS refused a URL signed this moment") from error
        except (ImageNotFound, ImageBlocked):
            self._gone(self.object_id)
            raise

    def _url_for(self, method: str) -> str:
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        return (self._sign_for_head(self.image) if method == "HEAD" else self.image.presigned).url
