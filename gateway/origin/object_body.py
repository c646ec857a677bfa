"""The bytes of an object at COS, over as many presigned URLs and connections as it takes to get them."""

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from aiohttp import hdrs
from fastcrc import crc64

from gateway.errors import (
    CredentialsExpired,
    GatewayError,
    ImageBlocked,
    ImageNotFound,
    OriginRefused,
    OriginRejected,
    OriginUnavailable,
    RangeNotSatisfiable,
)
from gateway.origin.client import OriginClient
from gateway.origin.errors import BodyLost, PresignedUrlRefused, RowChanged, VersionChanged
from gateway.origin.failed_objects import FailedObjects
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import ContentRange, ObjectMetadata, OriginResponse
from gateway.origin.resumption import Resumption, ResumptionLimits
from gateway.presign.signed_image import CLOCK_TOLERANCE, AuthorizedImage, ObjectId, PresignedUrl, SignedImage
from gateway.settings import Live

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
    metrics: OriginMetrics
    resumption: Live[ResumptionLimits]


class ObjectBody:
    """The body of one version of an image's object, from the request to COS to the last byte.

    A URL that COS refuses is renewed. ``image`` is then the image on the new URL. The renewal reads the row again,
    and COS is asked for nothing of a row that has changed since access was checked (``RowChanged``). A lost connection
    is resumed with ``Range`` and ``If-Match`` (RFC 9110 sections 14.2 and 13.1.1). A clean end means a complete body:
    of the announced length, all of one version, and with COS's CRC-64 if the response had one
    (``x-cos-hash-crc64ecma``, COS document 40334) and COS did not process the object.
    """

    __slots__ = (
        "_access",
        "_checksum",
        "_expected_checksum",
        "_first",
        "_received",
        "_requested_at",
        "_response",
        "_resumption",
        "content_range",
        "has_body",
        "image",
        "length",
        "metadata",
        "object_id",
        "origin_etag",
        "status",
    )

    # Known once the body is open.
    status: int
    metadata: ObjectMetadata
    origin_etag: str | None
    length: int | None
    content_range: ContentRange | None
    has_body: bool
    _response: OriginResponse
    _first: int
    _expected_checksum: int | None
    _requested_at: float

    def __init__(self, access: OriginAccess, image: AuthorizedImage) -> None:
        self.object_id = image.named or image.object_id
        self.image = image
        self._access = access
        self._received = 0
        self._checksum = 0
        self._resumption: Resumption | None = None

    async def open(self, headers: Mapping[str, str], method: str = hdrs.METH_GET) -> None:
        """Request the object. A call that was cancelled may be repeated.

        Raises what ``OriginClient.fetch`` and ``Renew`` raise, ``OriginRefused`` when the renewed URL is refused as
        well, and ``RowChanged``.
        """
        failures = self._access.failures
        if failures.by_object:
            failures.check(self.image)
        self._response = response = await self._fetch(headers, method)
        self.status = response.status
        self.metadata = response.metadata
        self.origin_etag = response.metadata.etag
        if self.object_id.rendition is not None:
            self.metadata = response.metadata._replace(etag=None)  # it may be that of the original
        self.length = response.length
        self.content_range = covered = response.content_range
        self.has_body = response.has_body
        self._first = covered.first if covered is not None else 0
        # On a 206 the header is still that of the whole object.
        self._expected_checksum = response.crc64 if self.status == 200 else None

    def is_over(self) -> bool:
        """Return whether the announced length has been received. False while it is not known."""
        return self._received == self.length

    async def read(self) -> bytes:
        """Return the next bytes, which are empty at the end.

        Raises ``BodyLost`` when the rest cannot be had or the whole is not what COS announced; the last piece is
        withheld then, since with it a client would have a complete-looking image. Raises ``RowChanged`` when the rest
        must not be requested. Cancelling a call loses nothing.
        """
        if self._received == self.length:
            return b""
        while True:
            try:
                piece = await self._response.read()
                if not piece:
                    if self.length is None:
                        self._check_checksum()
                    return b""
            except BodyLost as loss:
                if not await self._resume(loss):
                    self._lost(loss)
                    raise
                continue
            self._check(piece)
            return piece

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
            self._check(piece)
        return piece

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""
        self._response.suit(has_unsent=has_unsent, is_blocked=is_blocked)

    async def rest(self, position: int) -> Self:
        """Return a body of the bytes from ``position`` on, over a new connection. Raises what ``read`` raises."""
        rest = copy.copy(self)
        rest._received = position  # noqa: SLF001 - its own class
        rest._resumption = Resumption(self._access.resumption.value, position)  # noqa: SLF001
        rest._expected_checksum = None  # noqa: SLF001 - it is of the whole
        rest._response = await rest._open_rest()  # noqa: SLF001
        return rest

    def close(self) -> None:
        """Stop the transfer, unless it is over."""
        if self._received != self.length:  # else the connection has been given back already
            self._response.close()

    def _check(self, piece: bytes) -> None:
        self._received += len(piece)
        if self._expected_checksum is not None:
            self._checksum = crc64.xz(piece, self._checksum)
        if self._received == self.length:
            try:
                self._check_checksum()
            except BodyLost as loss:
                self._lost(loss)
                raise

    def _check_checksum(self) -> None:
        if self._expected_checksum not in (None, self._checksum):
            raise BodyLost(f"the checksum is not that of the object after {self._received} bytes")
        failures = self._access.failures
        if failures.by_object:
            failures.completed(self.object_id)

    async def _fetch(self, headers: Mapping[str, str], method: str = hdrs.METH_GET) -> OriginResponse:
        """Request the object by its URL, and again by a renewed URL as ``time_for_renewal`` says."""
        renewals = 0
        try:
            while True:
                try:
                    return await self._fetch_once(headers, method)
                except PresignedUrlRefused as refusal:
                    try:
                        cos_time = time_for_renewal(refusal, self.image.presigned, renewals)
                    except GatewayError as outcome:
                        self._remember(outcome)
                        raise
                    logger.debug("COS refused a URL, renewing it: image=%s reason=%s", self._image_id, refusal)
                    self.image = await self._renewed(cos_time)
                renewals += 1
        except (ImageNotFound, ImageBlocked) as error:
            logger.debug("COS has no such object: image=%s reason=%s", self._image_id, error)
            self._access.gone(self.object_id)
            raise

    async def _renewed(self, cos_time: float | None) -> AuthorizedImage:
        """Return the image on a new URL. Raises ``RowChanged`` unless access was checked for the row as it is now.

        Once the body is open, its metadata may have been sent: then only access and the object have to be the same.
        Requests for other rows of the same object may share the transfer: each looks up its own row again.
        """
        image = self.image
        try:
            renewed = await self._access.renew(image, cos_time)
        except ImageNotFound as error:
            raise RowChanged("the row is gone") from error
        if self._resumption is None:
            is_checked = renewed.record == image.record
        else:
            is_checked = renewed.record.is_visible_like(image.record)
        if not is_checked or renewed.public != image.public or renewed.object_id != self.object_id:
            raise RowChanged("the row has changed")
        return AuthorizedImage(renewed)

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

    @property
    def _image_id(self) -> str:
        return self.image.record.image_id

    async def _resume(self, loss: BodyLost) -> bool:
        """Replace the lost response by a response for the rest. Return False if that may not be tried.

        Raises what ``_open_rest`` raises. It does not raise ``loss`` itself: an exception that is a
        local of a frame in its traceback is a reference cycle.
        """
        if self.metadata.strong_etag is None:
            return False
        if self._resumption is None:
            self._resumption = Resumption(self._access.resumption.value)
        pause = self._resumption.pause(loss, self._received)
        if pause is None:
            return False
        self._response.close()
        if pause:
            await asyncio.sleep(pause)
        self._access.metrics.origin_resumes.inc()
        logger.debug("resuming: %s", loss)
        self._response = await self._open_rest()
        self._resumption.used()  # only now: a reader that leaves during the request uses up nothing
        return True

    async def _open_rest(self) -> OriginResponse:
        etag = self.metadata.strong_etag
        if etag is None:
            raise BodyLost("there is no ETag to tell the version by")
        first = self._first + self._received
        end = None if self.length is None else self._first + self.length
        byte_range = f"bytes={first}-{'' if end is None else end - 1}"
        try:
            response = await self._fetch({"Range": byte_range, "If-Match": etag})
        except (GatewayError, VersionChanged) as error:
            raise BodyLost(f"after {self._received} bytes, the rest: {type(error).__name__}") from error
        covered = response.content_range
        if (
            covered is None
            or not covered.is_rest(first, end)
            or self.metadata.size not in (None, covered.size)
            or response.metadata.etag != etag
        ):
            response.close()
            raise BodyLost(f"after {self._received} bytes, the rest is of another version")
        return response


def time_for_renewal(refusal: PresignedUrlRefused, presigned: PresignedUrl, renewals: int) -> float | None:
    """Return COS's time, in Unix seconds, for the renewal of a URL that COS refused. None: the clock is not at fault.

    A URL is renewed once. If COS refuses a URL that was just signed and its time differs, the URL is renewed once more,
    whatever COS's reason is. After these ``renewals``, raises ``CredentialsExpired`` or ``OriginRefused``.
    """
    error = refusal.error
    if renewals == 0:
        return error.clock
    if renewals == 1 and error.date is not None and abs(error.date - presigned.signed_at) >= CLOCK_TOLERANCE:
        return error.date
    raise _refused(refusal) from refusal


def _refused(refusal: PresignedUrlRefused) -> GatewayError:
    outcome = CredentialsExpired if refusal.error.code == "ExpiredToken" else OriginRefused
    refused = outcome(f"COS refused a newly signed URL: {refusal}")
    refused.cos = refusal.error
    return refused
