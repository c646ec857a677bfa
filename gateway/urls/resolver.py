"""The resolver: image id -> signed image, by the local tier, Redis, or the catalog and the signer."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from gateway.catalog.record import Catalog, ImageRecord, RowsUnreadable
from gateway.changes.entry_trust import EntryTrust, Now
from gateway.changes.heartbeat import LEASE
from gateway.concurrency.grouped_calls import GroupedCalls
from gateway.concurrency.time_limits import TimeSlices
from gateway.errors import CatalogUnavailable, GatewayError, ImageNotFound, TooManyVariants, UnknownStyle
from gateway.presign.signer import BACKDATE, PresignedUrl, SignedImage
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import CheckedSigner
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.redis_entries.url_entries import EntryLookUp, Made, UrlEntries
from gateway.urls.local_tier import ImageMissing, LocalState, LocalTier
from gateway.urls.metrics import UrlMetrics
from gateway.urls.new_variants import NewVariant, NewVariants
from gateway.urls.outage import CachedEntry, Outage, read_row, unread_for

_LOCAL_HIT, _LOCAL_MISS, _LOCAL_UNKNOWN = ("local", "hit"), ("local", "miss"), ("local", "unknown")
_NOT_FOUND = EntryLookUp()
_MOST_LOOKED_AT = 1000  # entries of the local tier; less than a millisecond

_Found: TypeAlias = Mapping[ImageVariant, EntryLookUp]
_Usable: TypeAlias = Mapping[ImageVariant, SignedImage]

Image = TypeVar("Image", bound=SignedImage, covariant=True)


class Resolved(NamedTuple, Generic[Image]):
    """An image with a URL that may be used, and whether the URL came from a cache."""

    image: Image
    from_cache: bool


@dataclass(frozen=True, slots=True)
class Known:
    """The result of a look-up that makes no URL: the image's row, and its cached URL (None if none may be used).

    unread: the row could not be read, and is that of the cached URL.
    """

    record: ImageRecord
    presigned: PresignedUrl | None
    unread: bool = False


class _LookUp(NamedTuple):
    variant: ImageVariant
    may_be_new: bool = True
    client: str = ""


_Results: TypeAlias = dict[_LookUp, Resolved[SignedImage] | NewVariant | Exception]


class Entries(NamedTuple):
    """The cached URLs of an image or a rendition, for an operator.

    local: the entry of this process.
    used: what a request gets without reading the row. None: the row is read.
    without_row: the unread image that a request gets while Postgres does not answer.
    """

    local: LocalState | None
    used: LocalState | None
    without_row: SignedImage | None


@dataclass(eq=False, slots=True)
class UrlResolver:
    """Finds or makes the presigned URL of an image. The caller checks access, on a hit as on a miss.

    A hit in the local tier awaits nothing. Misses that arrive together share a read of Redis, a query and a write; in a
    Cluster, misses of images on the same node do. Misses of the same image share a look-up. Without Redis, the resolver
    signs URLs itself. Without Postgres, it serves cached URLs until they end, as ``Outage`` says.

    trust: says which entries of Redis are used without reading their rows again.
    new_variants: bounds the URLs that are signed for renditions of which none is cached. None: no bound.
    """

    catalog: Catalog
    urls: CheckedSigner
    shared: UrlEntries | None
    local: LocalTier
    trust: EntryTrust
    metrics: UrlMetrics
    new_variants: NewVariants | None = None
    _lookups: GroupedCalls[_LookUp, Resolved[SignedImage] | NewVariant] = field(init=False)
    outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        self.outage = Outage(self.trust)
        self._lookups = GroupedCalls(
            "look-up", self._look_up_many, self.metrics.coalesced_requests, part_of=self._server_of
        )

    def get_cached(self, image_id: str) -> Resolved[SignedImage] | None:
        """Return the original cached here, or None (``look_up``). Raises ``ImageNotFound``."""
        image = self.image_here(image_id)
        return Resolved(image, True) if image is not None else None

    def image_here(self, image_id: str, rendition: str | None = None) -> SignedImage | None:
        """Return the image cached here, or None (``look_up``). Raises ``UnknownStyle`` or ``ImageNotFound``."""
        try:
            image = self.local.get(image_id if rendition is None else ImageVariant(image_id, rendition))
        except ImageMissing:
            self.metrics.url_cache_lookups.add(_LOCAL_UNKNOWN)
            raise ImageNotFound from None
        # A clock that ran ahead signed the URL and is right again: COS refuses the URL, because it has not begun.
        if image is not None and image.presigned.signed_at - BACKDATE > self.urls.now():
            image = None
        if image is None and rendition is not None and not self.urls.signer.renditions.value.has(rendition):
            raise UnknownStyle  # a reload that removes a rendition drops its images here
        self.metrics.url_cache_lookups.add(_LOCAL_MISS if image is None else _LOCAL_HIT)
        return image

    async def look_up(self, image_id: str, rendition: str | None = None, *, client: str = "") -> Resolved[SignedImage]:
        """Look up an image that is not cached here.

        ``client``: the name of the share that pays for a new variant. Raises ``ImageNotFound``, ``CatalogUnavailable``,
        ``CredentialsExpired`` or ``TooManyVariants``.
        """
        found = await self._lookups.run(_LookUp(ImageVariant(image_id, rendition), client=client))
        assert isinstance(found, Resolved), "it may be new"  # noqa: S101
        return found

    async def look_up_cached(self, image_id: str, rendition: str) -> Resolved[SignedImage] | NewVariant:
        """Look up a variant that is not cached here, and make no URL if none is cached. Raises as ``look_up``."""
        return await self._lookups.run(_LookUp(ImageVariant(image_id, rendition), may_be_new=False))

    async def resolve_many(self, image_ids: Iterable[str]) -> dict[str, Resolved[SignedImage] | GatewayError]:
        """Return each image or its error. Up to 200 misses share a read of Redis and a query."""
        results: dict[str, Resolved[SignedImage] | GatewayError] = {}
        missed: list[_LookUp] = []
        for image_id in dict.fromkeys(image_ids):
            try:
                if (cached := self.get_cached(image_id)) is not None:
                    results[image_id] = cached
                else:
                    missed.append(_LookUp(ImageVariant(image_id)))
            except ImageNotFound as error:
                results[image_id] = error
        for look_up, result in (await self._lookups.run_many(missed)).items():
            assert not isinstance(result, NewVariant), "each may be new"  # noqa: S101
            if isinstance(result, Exception) and not isinstance(result, GatewayError):
                raise result
            results[look_up.variant.image_id] = result
        return results

    async def peek(self, image_id: str) -> Known:
        """Return the image without making a URL. Raises ``ImageNotFound`` or ``CatalogUnavailable``."""
        variant, mark, began = ImageVariant(image_id), self.local.mark(), self.local.now()
        image = self.image_here(image_id)
        if image is None:
            _, usable = await self.find([variant])
            if (image := usable.get(variant)) is not None:
                self.keep_local(image, mark)
        if image is not None:
            return Known(image.record, image.presigned, image.unread)
        record = (await self.catalog.fetch_rows([image_id])).records.get(image_id)
        if record is None:
            self.local.put_unknown(variant, mark, began)
            raise ImageNotFound(image_id)
        return Known(record, None)

    def drop(self, image_id: str) -> None:
        """Look the image up again at its next request."""
        self.local.drop(image_id)
        self._lookups.detach(lambda look_up: look_up.variant.image_id == image_id)

    def drop_all(self) -> None:
        """Look every image up again at its next request, and serve it stale if no store answers."""
        self.local.drop_all()
        self._lookups.detach()
        self.outage.ended()

    def forget_renditions(self, renditions: Collection[str | None]) -> None:
        """Look these renditions (None: the originals) up again: they are new, or their rule or audience has changed."""
        self.local.drop_renditions(renditions)
        self._lookups.detach(lambda look_up: look_up.variant.rendition in renditions)
        self.trust.reread_renditions(renditions, self.local.now())

    def inspect(self, variant: ImageVariant, there: EntryLookUp) -> Entries:
        """Return the entries of a variant, of which Redis has ``there``. This does not count as a use of them."""
        local, image = self.local.inspect(variant), there.image
        used = local if local is not None and local.fresh_for > 0 else None
        if used is not None and used.image is not None and used.image.presigned.signed_at - BACKDATE > self.urls.now():
            used = None
        if used is None and image is not None and self._is_trusted(image):
            used = LocalState(image, self.urls.usable_for(image))
        return Entries(local, used, self._without_row(variant, there))

    def unchanged(self, there: EntryLookUp, record: ImageRecord) -> SignedImage | None:
        """Return the image in Redis if ``record``, its row as it was read now, has not changed: its URL stays valid."""
        image = there.image
        return image if image is not None and image.record == record and self.urls.may_be_used(image) else None

    def after_waiting(self, image: SignedImage, since: float) -> SignedImage | None:
        """Return an image of which an answer was begun at that time of the log.

        None: its row has changed. Marked as unread: it may have, and a purge may have gone before the answer.
        """
        log = self.trust.log
        if log.has_heard(image.record.image_id, since):
            return None
        return image.as_unread() if log.may_have_missed(since, self.local.now()) else image

    def serves_from_memory(self) -> bool:
        """Return whether a URL in this process can be used, so that its image is served while no store answers."""
        return any(map(self.urls.may_be_used, self.local.recent(_MOST_LOOKED_AT)))

    async def close(self) -> None:
        """Cancel running look-ups."""
        await self._lookups.close()

    def _server_of(self, look_up: _LookUp) -> str:
        return self.shared.shards.address_of(look_up.variant.image_id) if self.shared is not None else ""

    def keep_local(self, image: SignedImage, mark: int) -> None:
        """Keep the image in this process, unless it was dropped since ``mark``."""
        usable_for = self.urls.usable_for(image)
        self.local.put(image, mark, unread_for(usable_for) if image.unread else usable_for)

    async def _look_up_many(self, look_ups: Sequence[_LookUp], *, is_repeated: bool = False) -> _Results:
        """Return the result or the error of each look-up. An error of a look-up does not affect the others."""
        mark = self.local.mark()
        found, usable = await self.find(list(dict.fromkeys(look_up.variant for look_up in look_ups)))
        results: _Results = {}
        for look_up in look_ups:
            if (image := usable.get(look_up.variant)) is not None:
                self.keep_local(image, mark)
                results[look_up] = Resolved(image, from_cache=True)
        if len(results) < len(look_ups) and self.outage.is_on and not self.outage.may_ask(self.local.now()):
            for look_up in look_ups:
                if look_up not in results and (stale := self._stale_entry(look_up.variant, found, mark)) is not None:
                    results[look_up] = stale
        missed = [look_up for look_up in look_ups if look_up not in results]
        if not missed:
            return results
        began = self.local.now()
        try:
            results |= await self._read_rows(missed, found, mark)
        except RowsUnreadable as error:
            self.outage.ended()
            unread = [look_up for look_up in missed if look_up.variant.image_id in error.image_ids]
            results |= {look_up: self._stale_entry(look_up.variant, found, mark) or error for look_up in unread}
            # The others have no row that can be served.
            return results | await self._look_up_many([look_up for look_up in look_ups if look_up not in results])
        except CatalogUnavailable as error:
            self.outage.read_failed(self.local.now())
            return results | {look_up: self._stale_entry(look_up.variant, found, mark) or error for look_up in missed}
        if self.local.now() - began >= LEASE and not is_repeated:
            # This process was paused. Requests that came meanwhile share this look-up, and must not get earlier rows.
            return await self._look_up_many(look_ups, is_repeated=True)
        return results

    async def _read_rows(self, missed: Sequence[_LookUp], found: _Found, mark: int) -> _Results:
        """Return the results by the rows of the images, and keep them. Raises ``CatalogUnavailable``."""
        began, read_at = self.local.now(), int(self.urls.now())
        image_ids = list(dict.fromkeys(look_up.variant.image_id for look_up in missed))
        records = (await self.catalog.fetch_rows(image_ids)).records
        if self.outage.is_on:
            self.outage.ended()
        results: _Results = {}
        made: dict[ImageVariant, Made] = {}
        slices = TimeSlices()
        for look_up in missed:
            await slices.pause()
            if look_up.variant in made:  # by the look-up of another client
                results[look_up] = Resolved(made[look_up.variant].image, from_cache=False)
                continue
            there = found.get(look_up.variant, _NOT_FOUND)
            results[look_up] = result = self._result_for(look_up, records.get(look_up.variant.image_id), there, read_at)
            if isinstance(result, Resolved):
                made[look_up.variant] = Made(result.image, there)
            elif isinstance(result, ImageNotFound):
                self.local.put_unknown(look_up.variant, mark, began)
        await self.keep(list(made.values()), mark)
        return results

    def _result_for(
        self, look_up: _LookUp, record: ImageRecord | None, there: EntryLookUp, read_at: int
    ) -> Resolved[SignedImage] | NewVariant | Exception:
        variant = look_up.variant
        if record is None:
            return ImageNotFound(variant.image_id)
        if (cached := self.unchanged(there, record)) is not None:
            return Resolved(replace(cached, read_at=read_at), from_cache=True)
        is_known = there.image is not None or there.foreign is not None  # another release or configuration signed it
        if variant.rendition is not None and not is_known and self.local.get_stale(variant) is None:
            if not look_up.may_be_new:
                return NewVariant(record)
            if self.new_variants is not None and not self.new_variants.admit(variant, look_up.client):
                return TooManyVariants(f"no more new ones in this minute: {variant.rendition}")
        try:
            return Resolved(self.urls.sign(record, variant.rendition, read_at), from_cache=False)
        except Exception as error:  # noqa: BLE001 - raised again by the callers of this look-up
            return error

    async def find(self, variants: Sequence[ImageVariant]) -> tuple[_Found, _Usable]:
        """Return the entries of Redis, as far as servers answer, and the hits: those that may be used as they are."""
        if self.shared is None:
            return {}, {}
        found: _Found = {}
        with suppress(CacheUnavailable):
            found = await self.shared.find(variants)
        results, usable = Counter(error=len(variants) - len(found)), {}
        for variant, there in found.items():
            if there.image is not None and self._is_trusted(there.image):
                usable[variant] = there.image
                results["hit"] += 1
            else:
                results["foreign" if there.foreign is not None else "miss"] += 1
        for result, count in results.items():
            if count:
                self.metrics.url_cache_lookups.add(("redis", result), count)
        return found, usable

    def _stale_entry(self, variant: ImageVariant, found: _Found, mark: int) -> Resolved[SignedImage] | None:
        """Return an unread image, which may be out of date, for when Postgres does not answer."""
        image = self._without_row(variant, found.get(variant, _NOT_FOUND))
        if image is None:
            return None
        self.keep_local(image, mark)
        return Resolved(image, from_cache=True)

    def _without_row(self, variant: ImageVariant, there: EntryLookUp) -> SignedImage | None:
        """Return the image to serve while its row cannot be read."""
        in_memory, in_redis = (
            CachedEntry(image, self.urls.may_be_used(image)) if image is not None else None
            for image in (self.local.get_stale(variant), there.image)
        )
        return self.outage.served_without_row(
            in_memory, in_redis, self.now(), was_missing=self.local.was_missing(variant)
        )

    def reread_all(self) -> None:
        """Read every row again that was read before now."""
        self.trust.reread_all(self.local.now())
        self.drop_all()

    def _is_trusted(self, image: SignedImage) -> bool:
        return self.trust.may_be_used(read_row(image), self.now()) and self.urls.may_be_used(image)

    def now(self) -> Now:
        """Return the present time."""
        return Now(self.local.now(), self.urls.now())

    async def keep(self, made: Sequence[Made], mark: int) -> None:
        """Keep images here and in Redis."""
        for each in made:
            self.keep_local(each.image, mark)
        if self.shared is not None:
            with suppress(CacheUnavailable):
                await self.shared.keep(made)
