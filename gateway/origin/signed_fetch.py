"""The way to one image's object: by presigned URL, renewed once when COS refuses it."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import hdrs

from gateway.errors import (
    CredentialsExpired,
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginRefused,
    OriginUnavailable,
)
from gateway.origin.client import OriginClient
from gateway.origin.errors import ObjectMoved, PresignedUrlRefused
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.origin_response import OriginResponse
from gateway.origin.refusals import OriginRejected
from gateway.presign.signed_image import ObjectId, PresignedUrl, SignedImage

logger = logging.getLogger(__name__)

# The image whose URL was refused, and COS's own time then, in Unix seconds; None unless COS says that the time is why.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


class SignedFetch:
    """Opens the object of ``image`` any number of times; ``renewed`` is what took its place once a URL was refused.

    ``gone`` is called when COS has no such object, or may not give it out. ``failures`` answers instead of COS while it
    remembers why COS would not, unless the object was opened before: a transfer is resumed whatever happened to others.
    None: nothing is remembered.
    """

    __slots__ = (
        "_asked_at",
        "_client",
        "_failures",
        "_gone",
        "_renew",
        "_sign_for_head",
        "_was_opened",
        "image",
        "object_id",
        "renewed",
    )

    def __init__(
        self,
        client: OriginClient,
        image: SignedImage,
        renew: Renew,
        sign_for_head: SignForHead,
        gone: Callable[[ObjectId], None],
        failures: FailedObjects | None = None,
    ) -> None:
        self.image = image
        self.renewed: SignedImage | None = None
        self.object_id = image.object_id
        self._client = client
        self._renew = renew
        self._sign_for_head = sign_for_head
        self._gone = gone
        self._failures = failures
        self._asked_at = 0.0
        self._was_opened = False

    async def open(self, headers: Mapping[str, str], method: str = "GET") -> OriginResponse:
        """An open answer.

        Raises what ``OriginClient.fetch`` and ``renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``ObjectMoved`` when the row has come to name another object.
        """
        if self._failures is not None and not self._was_opened:
            self._failures.check(self.image)
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
                raise self._failed(outcome(f"a URL signed this moment: {error}")) from error
        except (ImageNotFound, ImageBlocked) as error:
            logger.info("COS has no such object: image=%s reason=%s", self.image_id, error)
            self._gone(self.object_id)
            raise

    @property
    def image_id(self) -> str:
        """The image's id, for the log."""
        return self.image.record.image_id

    def lost(self, reason: str) -> None:
        """What was opened broke off and was given up; ``reason`` is for the log."""
        self._failed(OriginUnavailable(reason), is_of_body=True)

    def completed(self) -> None:
        """What was opened came to its end."""
        if self._failures is not None:
            self._failures.completed(self.object_id)

    def _failed(self, error: GatewayError, *, is_of_body: bool = False) -> GatewayError:
        """The same, remembered."""
        if self._failures is not None:
            self._failures.failed(self.object_id, error, self._asked_at, is_of_body=is_of_body)
        return error

    async def _fetch(self, method: str, headers: Mapping[str, str]) -> OriginResponse:
        if self._failures is not None:
            self._asked_at = self._failures.now()
        try:
            response = await (self._fetch_head(headers) if method == hdrs.METH_HEAD else self._fetch_body(headers))
        except GatewayError as error:
            self._failed(error)
            raise
        self._was_opened = True
        if self._failures is not None:
            self._failures.opened(self.object_id)
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
