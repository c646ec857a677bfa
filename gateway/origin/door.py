"""The way to one image's object: by presigned URL, renewed once when COS refuses it."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.errors import OriginRefused
from gateway.origin.client import OriginClient
from gateway.origin.errors import ObjectMoved, PresignedUrlRefused
from gateway.origin.facts import ObjectId
from gateway.origin.response import OriginResponse
from gateway.urls.presigned import PresignedUrl, SignedImage

# The image whose URL was refused, and COS's own time then, in Unix seconds; None when it told none.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


class Door:
    """Opens the object of ``image`` any number of times; ``renewed`` is what took its place once a URL was refused."""

    __slots__ = ("_client", "_renew", "_sign_for_head", "image", "object_id", "renewed")

    def __init__(self, client: OriginClient, image: SignedImage, renew: Renew, sign_for_head: SignForHead) -> None:
        self.image = image
        self.renewed: SignedImage | None = None
        self.object_id = ObjectId.of(image)
        self._client = client
        self._renew = renew
        self._sign_for_head = sign_for_head

    async def open(self, headers: Mapping[str, str], *, method: str = "GET") -> OriginResponse:
        """An open answer.

        Raises what ``OriginClient.fetch`` and ``renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``ObjectMoved`` when the row has come to name another object.
        """
        try:
            return await self._fetch(headers, method)
        except PresignedUrlRefused as refusal:
            renewed = await self._renew(self.image, refusal.told_at)
        if ObjectId.of(renewed) != self.object_id:
            raise ObjectMoved
        self.image = self.renewed = renewed
        try:
            return await self._fetch(headers, method)
        except PresignedUrlRefused as error:
            raise OriginRefused("COS refused a URL signed this moment") from error

    async def _fetch(self, headers: Mapping[str, str], method: str) -> OriginResponse:
        # COS refuses HEAD on a URL signed for GET. Nothing in ``headers`` is signed, so it may be added to any URL.
        presigned = self._sign_for_head(self.image) if method == "HEAD" else self.image.presigned
        return await self._client.fetch(presigned.url, bucket=self.object_id.bucket, method=method, headers=headers)
