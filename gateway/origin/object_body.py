"""The bytes of an object at COS, over as many presigned URLs and connections as it takes to get them."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import hdrs

from gateway.errors import (
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginRejected,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.metrics.collectors import Metrics
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost, PresignedUrlRefused, RowChanged, VersionChanged
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.origin_response import OriginResponse
from gateway.origin.transfer_state import BodyState, Renewal, ResumptionLimits, renewed_image
from gateway.presign.signed_image import AuthorizedImage, ObjectId, PresignedUrl, SignedImage

logger = logging.getLogger(__name__)

# Renews the URL of the image. The float is COS's time in Unix seconds if it may explain the refusal, else None.
Renew = Callable[[SignedImage, float | None], Awaitable[SignedImage]]
SignForHead = Callable[[SignedImage], PresignedUrl]


@dataclass(slots=True)
class OriginAccess:
    """Collaborators of every ``ObjectBody``.

    ``failures`` raises COS's last error instead of sending a request while it remembers one. ``gone`` is called when
    COS does not have the object, or may not serve it.
    """

    client: OriginClient
    failures: FailedObjects
    gone: Callable[[ObjectId], None]
    renew: Renew
    sign_for_head: SignForHead
    metrics: Metrics
    resumption: ResumptionLimits


class ObjectBody:
    """The body of one version of an image's object, from the request to COS to the last byte.

    A URL that COS refuses is renewed, and a lost connection resumed, as ``Renewal`` and ``BodyState`` say. ``image`` is
    then the image on the new URL. The renewal reads the row again, and COS is asked for nothing of a row that has
    changed since access was checked (``RowChanged``).

    state: once the body is open.
    """

    __slots__ = ("_access", "_requested_at", "_response", "image", "object_id", "state")

    state: BodyState
    _response: OriginResponse
    _requested_at: float

    def __init__(self, access: OriginAccess, image: AuthorizedImage) -> None:
        self.object_id = image.named or image.object_id
        self.image = image
        self._access = access

    async def open(self, headers: Mapping[str, str], method: str = hdrs.METH_GET) -> BodyState:
        """Request the object. A call that was cancelled may be repeated.

        Raises what ``OriginClient.fetch`` and ``Renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``RowChanged``.
        """
        access = self._access
        if access.failures.by_object:
            access.failures.check(self.image)
        self._response = response = await self._fetch(headers, method)
        is_processed = self.object_id.rendition is not None
        self.state = state = BodyState(access.resumption, response, is_processed=is_processed)
        return state

    async def read(self) -> bytes:
        """Return the next bytes, which are empty at the end.

        Raises ``BodyLost`` when the rest cannot be had or the whole is not what COS announced (``BodyState.arrived``),
        and ``RowChanged`` when the rest must not be requested. Cancelling a call loses nothing.
        """
        while not self.state.is_over:
            try:
                piece = await self._response.read()
                self.state.arrived(piece)
            except BodyLost as loss:
                if not await self._resume(loss):
                    self._lost(loss)
                    raise
            else:
                self._note_end()
                return piece
        return b""

    async def read_whole(self) -> bytes:
        """Return all bytes. Raises what ``read`` raises."""
        pieces = [await self.read()]
        while pieces[-1]:
            pieces.append(await self.read())
        return b"".join(pieces)

    def read_nowait(self) -> bytes:
        """Return the bytes that have arrived, empty if none. Raises ``BodyLost`` as ``read`` does."""
        piece = self._response.read_nowait()
        if piece:
            try:
                self.state.arrived(piece)
            except BodyLost as loss:
                self._lost(loss)
                raise
            self._note_end()
        return piece

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""
        self._response.suit(has_unsent=has_unsent, is_blocked=is_blocked)

    async def rest(self, position: int) -> Self:
        """Return a body of the bytes from ``position`` on, over a new connection. Raises what ``read`` raises."""
        rest = copy.copy(self)
        rest.state = self.state.branch(position)
        await rest._request_rest()  # noqa: SLF001 - its own class
        return rest

    def close(self) -> None:
        """Stop the transfer, unless it is over."""
        if self.state.received != self.state.length:  # else the connection has been given back already
            self._response.close()

    def _note_end(self) -> None:
        failures = self._access.failures
        if failures.by_object and self.state.is_over:
            failures.completed(self.object_id)

    async def _fetch(
        self, headers: Mapping[str, str], method: str = hdrs.METH_GET, *, is_sent: bool = False
    ) -> OriginResponse:
        """Request the object by its URL, and again by a renewed URL as ``Renewal`` says."""
        renewal: Renewal | None = None
        try:
            while True:
                try:
                    return await self._fetch_once(headers, method)
                except PresignedUrlRefused as refusal:
                    renewal = renewal or Renewal()
                    try:
                        cos_time = renewal.refused(refusal, self.image.presigned)
                    except GatewayError as outcome:
                        self._remember(outcome)
                        raise
                    image_id = self.image.record.image_id
                    logger.debug("COS refused a URL, renewing it: image=%s reason=%s", image_id, refusal)
                    self.image = renewed_image(self.image, await self._renewed(cos_time), is_sent=is_sent)
        except (ImageNotFound, ImageBlocked) as error:
            logger.debug("COS has no such object: image=%s reason=%s", self.image.record.image_id, error)
            self._access.gone(self.object_id)
            raise

    async def _renewed(self, cos_time: float | None) -> SignedImage:
        try:
            return await self._access.renew(self.image, cos_time)
        except ImageNotFound as error:
            raise RowChanged("the row is gone") from error

    async def _fetch_once(self, headers: Mapping[str, str], method: str) -> OriginResponse:
        failures = self._access.failures
        self._requested_at = failures.now()
        try:
            if method == hdrs.METH_HEAD:
                response = await self._fetch_head(headers)
            else:
                response = await self._access.client.fetch(
                    self.image.presigned.url,
                    self.object_id.bucket,
                    method,
                    headers,
                    is_processed=self.object_id.rendition is not None,
                )
        except GatewayError as error:
            self._remember(error)
            raise
        if failures.by_object:
            failures.opened(self.object_id)
        if self.object_id.rendition is not None:
            response.ignore_checksum()
        return response

    async def _fetch_head(self, headers: Mapping[str, str]) -> OriginResponse:
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        client, bucket = self._access.client, self.object_id.bucket
        url = self._access.sign_for_head(self.image).url
        try:
            return await client.fetch(url, bucket, hdrs.METH_HEAD, headers)
        except (PresignedUrlRefused, ImageNotFound, OriginRejected) as error:
            refusal = error
        # COS's error to a HEAD has no body, hence no code: a GET of the first byte is refused for the same reason.
        with suppress(RangeNotSatisfiable):  # an empty object, which COS would send
            (await client.fetch(self.image.presigned.url, bucket, hdrs.METH_GET, {"Range": "bytes=0-0"})).close()
        raise refusal

    def _remember(self, error: GatewayError, *, is_of_body: bool = False) -> None:
        self._access.failures.failed(self.object_id, error, self._requested_at, is_of_body=is_of_body)

    def _lost(self, loss: BodyLost) -> None:
        self._access.client.observed.body_lost(self.object_id.bucket)
        self._remember(OriginUnavailable(str(loss)), is_of_body=True)

    async def _resume(self, loss: BodyLost) -> bool:
        """Request the rest of a lost body. Return False if that may not be tried.

        Raises what ``_request_rest`` raises. It does not raise ``loss`` itself: an exception that is a
        local of a frame in its traceback is a reference cycle.
        """
        pause = self.state.lost(loss)
        if pause is None:
            return False
        self._response.close()
        if pause:
            await asyncio.sleep(pause)
        self._access.metrics.origin_resumes.inc()
        logger.debug("resuming: %s", loss)
        await self._request_rest()
        return True

    async def _request_rest(self) -> None:
        state = self.state
        try:
            response = await self._fetch(state.rest(), is_sent=True)
        except (GatewayError, VersionChanged) as error:
            raise BodyLost(f"after {state.received} bytes, the rest: {type(error).__name__}") from error
        try:
            state.resumed(response)
        except BodyLost:
            response.close()
            raise
        self._response = response
