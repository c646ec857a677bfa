"""The content of objects: what memory keeps of it, and the body of one object on its way from COS."""

import asyncio
import copy
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

from gateway import errors
from gateway.changes.change_log import ChangeLog
from gateway.concurrency.clocks import boot_time
from gateway.objects.renew_on_refusal import Renewal, renewed_image
from gateway.objects.transfer_state import BodyState, ResumptionLimits
from gateway.origin.client import OriginClient
from gateway.origin.cos_errors import BodyLost, PresignedUrlRefused, RowChanged, VersionChanged
from gateway.origin.failures import FailedObjects
from gateway.origin.metrics import OriginMetrics
from gateway.origin.origin_response import AnswerHead, ContentRange, ObjectMetadata, OriginResponse
from gateway.presign.signer import AuthorizedImage, ObjectId, PresignedUrl, SignedImage
from gateway.settings import Live, MemoryCacheSettings

logger = logging.getLogger(__name__)

_MOST_ENTRIES: Final = 20_000
# For how many seconds bytes in memory may replace those of a COS that fails; caches downstream get the same limit in
# ``stale-if-error`` (RFC 5861).
STALE_IF_ERROR: Final = 86_400
# Failures of COS, and not of the image.
COS_FAILURES: Final = (errors.OriginUnavailable, errors.OriginTimeout, errors.Unavailable)


class Body(Protocol):
    """The bytes of an object that COS sends: an ``ObjectBody``, or a ``Reader`` of a transfer that others may share."""

    async def read(self) -> bytes | memoryview:
        """Return the next bytes, empty at a clean end. Raises ``BodyLost`` or ``RowChanged`` at any other end."""

    def read_whole(self) -> Awaitable[bytes]:
        """Return all bytes of a small body, or of one that memory stores. Raises what ``read`` raises."""

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        """Adapt the size of reads to the client: ``OriginResponse.suit``."""

    def close(self) -> None:
        """Stop the transfer, unless it is over or others need it."""


@dataclass(slots=True)
class Content:
    """One version of an image's object in COS: its metadata, and its bytes if they were needed.

    image: its row is the row that access was checked for.
    status: COS's answer, 200, 206 or 304. None if COS was not asked, or failed.
    data: all bytes, if they are in memory.
    age: seconds since COS last confirmed the content of memory. None for bytes that COS sends now.
    fresh_for: seconds until memory has to ask COS, negative if it had to already. None if COS was asked.
    body: the bytes that COS sends, to be closed. None if it sends none.
    covered: the range of the object that ``body`` has. None: the whole.
    had_stale: memory had content that was too old to be used without asking COS.
    is_stored: memory keeps the whole.
    is_collapsed: another request had started the transfer.
    """

    image: AuthorizedImage
    metadata: ObjectMetadata
    status: int | None = None
    data: bytes | None = None
    age: float | None = None
    fresh_for: float | None = None
    body: Body | None = None
    covered: ContentRange | None = None
    had_stale: bool = False
    is_stored: bool = False
    is_collapsed: bool = False

    @property
    def is_not_modified(self) -> bool:
        """Whether COS found the client's copy to be current."""
        return self.status == 304 and self.data is None

    def of(self, image: AuthorizedImage) -> "Content":
        """Return the content for a request for ``image``: another row of the object may have started the fetch."""
        return self if self.image.record == image.record else replace(self, image=image)


@dataclass(slots=True)
class Entry:
    """An entry of ``ObjectCache``: what COS answered about an object. ``requested_at``: when, by ``boot_time``.

    ``body`` is None where only the metadata is in memory. ``origin_etag`` is COS's entity tag of a rendition, whose
    metadata has one of the gateway's own.
    """

    metadata: ObjectMetadata
    body: bytes | None
    requested_at: float
    origin_etag: str | None = None


class ObjectCache:
    """Keeps metadata and bytes of COS's objects in memory. Evicts the least recently used, bytes apart from metadata.

    An answer of COS counts from the time of its request: it replaces no answer to a later request, and an image that
    has changed since, by the change log, does not use it, even if another image of the same object sent the request.

    The cache checks no access: that is done for every request before it looks here.
    """

    def __init__(
        self,
        settings: Live[MemoryCacheSettings],
        metrics: OriginMetrics,
        log: ChangeLog,
        steady: Callable[[], float] = boot_time,
    ) -> None:
        self.settings = settings
        self.changed_at = log.changed_at
        metrics.memory_cache_bytes.set_function(lambda: self._bytes)
        self.now = steady
        self._entries: OrderedDict[ObjectId, Entry] = OrderedDict()
        self._with_body: OrderedDict[ObjectId, int] = OrderedDict()
        self._bytes = 0
        settings.watch(lambda *_: self._shrink())

    def accepts(self, size: int | None) -> bool:
        """Return whether a body of that size, in bytes, is kept."""
        most = self.settings.value.max_bytes
        return size is not None and most > 0 and size <= min(self.settings.value.max_object_bytes, most)

    def get(self, image: SignedImage) -> Entry | None:
        """Return the entry of the image's object, however old. None: nothing since the image changed."""
        object_id = image.named or image.object_id  # most images here are named: no call
        if (entry := self._entries.get(object_id)) is None:
            return None
        if entry.requested_at <= self.changed_at(image.record.image_id):
            self.discard(object_id)
            return None
        self._entries.move_to_end(object_id)
        if entry.body is not None:
            self._with_body.move_to_end(object_id)
        return entry

    def content(self, image: AuthorizedImage) -> Content | None:
        """Return what is kept of the image, perhaps only metadata. None: COS has to be asked.

        Bytes up to twice ``memory_cache.ttl`` old are used while COS is asked about them: stale-while-revalidate.
        """
        if (entry := self.get(image)) is None:
            return None
        age, ttl = self.now() - entry.requested_at, self.settings.value.ttl
        if age >= ttl and (entry.body is None or age >= 2 * ttl):
            return None
        return Content(image, entry.metadata, None, entry.body, age, ttl - age)

    def known(self, image: SignedImage) -> ObjectMetadata | None:
        """Return the version of the image's object that COS sent last, or None. COS makes each rendition anew."""
        entry = self.get(image) if image.rendition is None else None
        return entry.metadata if entry is not None else None

    def age(self, entry: Entry) -> float:
        """Return the seconds since COS last sent or confirmed the entry (RFC 9111 section 4.2.3)."""
        return self.now() - entry.requested_at

    def kept(self, image: AuthorizedImage, stale: Entry, data: bytes | None, status: int | None) -> Content:
        """Return the bytes of ``stale``, which COS has confirmed with ``status``. None: COS failed."""
        return Content(image, stale.metadata, status, data, self.age(stale), had_stale=True)

    def update(
        self, object_id: ObjectId, metadata: ObjectMetadata, requested_at: float, body: bytes | None = None
    ) -> Entry:
        """Store COS's answer and return the entry of that version. ``body`` None: bytes of the same version stay."""
        entry = self._entries.get(object_id)
        is_same = entry is not None and metadata.is_version_of(entry.metadata)
        if entry is None or entry.requested_at <= requested_at:
            if entry is None or not is_same:
                self.discard(object_id)
                entry = self._entries[object_id] = Entry(metadata, None, requested_at)
            entry.metadata, entry.requested_at = metadata, requested_at
        elif not is_same:
            return Entry(metadata, body, requested_at)  # COS has sent another version since
        self._entries.move_to_end(object_id)
        if body is not None and entry.body is None and self.accepts(len(body)):
            entry.body = body
            self._with_body[object_id] = len(body)
            self._bytes += len(body)
            self._shrink()
        if len(self._entries) > _MOST_ENTRIES:
            self.discard(next(iter(self._entries)))
        return entry

    def answered(self, object_id: ObjectId, status: int, metadata: ObjectMetadata, requested_at: float) -> None:
        """Store the header of COS's answer to a GET. A 304 confirms the version of ``metadata``."""
        if status != 304:
            if metadata.size is not None:
                self.update(object_id, metadata, requested_at)
            return
        entry = self._entries.get(object_id)
        if entry is not None and metadata.etag is not None and metadata.confirm(entry.metadata):
            entry.requested_at = max(entry.requested_at, requested_at)

    def discard(self, object_id: ObjectId) -> None:
        """Remove the entry of an object that was deleted or replaced."""
        if self._entries.pop(object_id, None) is not None:
            self._bytes -= self._with_body.pop(object_id, 0)

    def _shrink(self) -> None:
        while self._bytes > self.settings.value.max_bytes:
            least_recent, size = self._with_body.popitem(last=False)
            self._entries[least_recent].body = None
            self._bytes -= size


@dataclass(slots=True)
class OriginAccess:
    """The services and settings by which each ``ObjectBody`` reads from COS.

    renew: renews the URL of the image. Gets COS's time in Unix seconds if it may explain the refusal, else None.
    """

    client: OriginClient
    failures: FailedObjects
    memory: ObjectCache
    renew: Callable[[SignedImage, float | None], Awaitable[SignedImage]]
    sign_for_head: Callable[[SignedImage], PresignedUrl]
    metrics: OriginMetrics
    resumption: Live[ResumptionLimits]


class ObjectBody:
    """Reads the body of one version of an image's object from COS, from the request to the last byte.

    A URL that COS refuses is renewed, and a lost connection resumed, as ``Renewal`` and ``BodyState`` say. ``image`` is
    then the image on the new URL. The renewal reads the row again, and COS is asked for nothing of a row that has
    changed since access was checked (``RowChanged``).

    requested_at: when the body was asked for (seconds of ``boot_time``). Answers of COS count from then.
    state: once the body is open.
    """

    __slots__ = ("_access", "_response", "image", "object_id", "requested_at", "state")

    state: BodyState
    _response: OriginResponse

    def __init__(self, access: OriginAccess, image: AuthorizedImage) -> None:
        self.object_id = image.named or image.object_id
        self.image = image
        self.requested_at = access.memory.now()
        self._access = access

    async def open(self, headers: Mapping[str, str], method: str = "GET") -> AnswerHead:
        """Request the object. A cancelled call may be repeated. Raises as ``OriginClient.fetch`` and ``Renewal``."""
        access = self._access
        if access.failures.by_object:
            access.failures.check(self.image)
        known = access.memory.known(self.image)
        response = await self._fetch(headers, method)
        if known is not None and response.head.status != 304 and response.head.metadata.contradicts(known):
            response = await self._ask_again(response, known, headers, method)
        self._response = response
        self.state = BodyState(access.resumption.value, response.head)
        return response.head

    async def read(self) -> bytes:
        """Return the next bytes, which are empty at the end. Cancelling a call loses nothing.

        Raises ``BodyLost`` without the rest, or if COS announced another whole, and ``RowChanged`` as the class says.
        """
        while not self.state.is_over:
            try:
                piece = await self._response.read()
                self._arrived(piece)
            except BodyLost as loss:
                if not await self._resume(loss):
                    self._lost(loss)
                    raise
            else:
                return piece
        return b""

    async def read_whole(self) -> bytes:
        pieces = [await self.read()]
        while pieces[-1]:
            pieces.append(await self.read())
        return b"".join(pieces)

    def read_nowait(self) -> bytes:
        """Return the bytes that have arrived, empty if none. Raises ``BodyLost`` as ``read`` does."""
        if piece := self._response.read_nowait():
            try:
                self._arrived(piece)
            except BodyLost as loss:
                self._lost(loss)
                raise
        return piece

    def suit(self, *, has_unsent: bool, is_blocked: bool) -> None:
        self._response.suit(has_unsent=has_unsent, is_blocked=is_blocked)

    async def rest(self, position: int) -> Self:
        """Return a body of the bytes from ``position`` on, over a new connection. Raises what ``read`` raises."""
        rest = copy.copy(self)
        rest.state = self.state.branch(position)
        await rest._request_rest()  # noqa: SLF001 - its own class
        return rest

    def close(self) -> None:
        if self.state.received != self.state.length:  # else the connection has been given back already
            self._response.close()

    def _arrived(self, piece: bytes) -> None:
        self.state.arrived(piece)
        failures = self._access.failures
        if failures.by_object and self.state.is_over:
            failures.completed(self.object_id)

    async def _fetch(self, headers: Mapping[str, str], method: str = "GET", *, is_sent: bool = False) -> OriginResponse:
        """Request the object by its URL, and again by a renewed URL as ``Renewal`` says."""
        access, renewal = self._access, Renewal()
        try:
            while True:
                try:
                    response = await self._fetch_once(headers, method)
                except PresignedUrlRefused as refusal:
                    cos_time, image_id = renewal.refused(refusal, self.image.presigned), self.image.record.image_id
                    logger.debug("COS refused a URL, renewing it: image=%s reason=%s", image_id, refusal)
                    try:
                        renewed = await access.renew(self.image, cos_time)
                    except errors.ImageNotFound as error:
                        raise RowChanged("the row is gone") from error
                    self.image = renewed_image(self.image, renewed, is_sent=is_sent)
                else:
                    if access.failures.by_object:
                        access.failures.opened(self.object_id)
                    return response
        except errors.GatewayError as error:
            self._remember(error)
            if isinstance(error, errors.ImageNotFound | errors.ImageBlocked):
                logger.debug("COS has no such object: image=%s reason=%s", self.image.record.image_id, error)
                access.memory.discard(self.object_id)
            raise

    async def _ask_again(
        self, first: OriginResponse, known: ObjectMetadata, headers: Mapping[str, str], method: str
    ) -> OriginResponse:
        """Ask again about a version that is not known: a faulty box may have sent the answer to another request.

        A version that COS sends twice is the new one, which the application has written over the object. Raises
        ``OriginUnavailable`` if COS sends a third version, and what ``_fetch`` raises.
        """
        first.close()  # with its connection
        logger.info("COS sends another version than is known, asking again: image=%s", self.image.record.image_id)
        again = await self._fetch(headers, method)
        if again.head.metadata.contradicts(known) and again.head.metadata.contradicts(first.head.metadata):
            again.close()
            raise errors.OriginUnavailable("COS sends one version of the object after another")
        return again

    async def _fetch_once(self, headers: Mapping[str, str], method: str) -> OriginResponse:
        client, url, bucket = self._access.client, self.image.presigned.url, self.object_id.bucket
        if method != "HEAD":
            return await client.fetch(url, bucket, method, headers, is_processed=self.object_id.rendition is not None)
        # COS refuses HEAD on a URL signed for GET. No header is signed, so any may be sent to any URL.
        try:
            return await client.fetch(self._access.sign_for_head(self.image).url, bucket, method, headers)
        except (PresignedUrlRefused, errors.ImageNotFound, errors.OriginRejected) as error:
            refusal = error
        # COS's error to a HEAD has no body, hence no code: a GET of the first byte is refused for the same reason.
        with suppress(errors.RangeNotSatisfiable):  # an empty object, which COS would send
            (await client.fetch(url, bucket, "GET", {"Range": "bytes=0-0"})).close()
        raise refusal

    def _remember(self, error: errors.GatewayError, *, is_of_body: bool = False) -> None:
        self._access.failures.failed(self.object_id, error, self.requested_at, is_of_body=is_of_body)

    def _lost(self, loss: BodyLost) -> None:
        self._access.client.observed.body_lost(self.object_id.bucket)
        self._remember(errors.OriginUnavailable(str(loss)), is_of_body=True)

    async def _resume(self, loss: BodyLost) -> bool:
        """Request the rest of a lost body. Return False if that may not be tried.

        ``loss`` is not raised here: an exception that is a local of a frame in its traceback is a reference cycle.
        """
        if (pause := self.state.lost(loss)) is None:
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
        except (errors.GatewayError, VersionChanged) as error:
            raise BodyLost(f"after {state.received} bytes, the rest: {type(error).__name__}") from error
        try:
            state.resumed(response.head)
        except BodyLost:
            response.close()
            raise
        self._response = response
