"""The cached URLs in Redis."""

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from gateway.concurrency.time_slices import TimeSlices
from gateway.presign.lifetime import Lifetime
from gateway.presign.renditions import RENDITION_NAME, Renditions
from gateway.presign.signed_image import BACKDATE, ImageVariant, SignedImage
from gateway.redis_store.entry_codec import EntryMac, UrlBuilder, decode, encode, encode_variant
from gateway.redis_store.entry_scripts import drop_entries, drop_if_same, keep_entries
from gateway.redis_store.guarded_client import CacheUnavailable, GuardedRedis, is_wrong_type

_NOT_DUE: Mapping[ImageVariant, float] = {}

# The id of an image may be another id, a colon and the name of a rendition. The key of its original ends with the mark,
# which occurs neither in an id nor in the name of a rendition, so that it is not the key of that rendition.
_SPELLS_A_VARIANT: Final = re.compile(rf".+:{RENDITION_NAME}")
_ORIGINAL_MARK: Final = "|"
# Between an entry and the tombstone it took the place of: its JSON has no line break.
_TOMBSTONE_MARK: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a look-up.

    tombstone: the tombstone under the key, or the tombstone that the entry replaced. b"" when the image was not
    dropped. It must be passed to the ``put_many`` that follows.
    image: None when there is no entry, when the image was dropped recently, or when the value ``is_foreign``.
    is_foreign: by its MAC or its content, the value was written by another program, or by a gateway with another
    secret, release or configuration.
    """

    image: SignedImage | None = None
    tombstone: bytes = b""
    is_foreign: bool = False


_NOTHING: Final = Found()
_FOREIGN: Final = Found(is_foreign=True)


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """An entry read without its URL: the end it claims (None when there is no entry), or its tombstone."""

    expires_at: int | None = None
    tombstone: bytes = b""


class UrlEntries:
    """Signed images in Redis.

    mac, urls: decide whether a gateway with the same secret and configuration wrote an entry. No other entry is used.
    with_links: links are signed, so an entry without the count of killed links is not used either.
    tombstone_ttl: for how many seconds a dropped image leaves a tombstone. It must be longer than a renewal takes from
    reading the row to writing the entry.

    Raises ``CacheUnavailable``.
    """

    def __init__(
        self,
        guard: GuardedRedis,
        mac: EntryMac,
        urls: UrlBuilder,
        renditions: Renditions,
        *,
        with_links: bool = False,
        tombstone_ttl: float = 30.0,
    ) -> None:
        self._guard = guard
        self._mac = mac
        self._urls = urls
        self._renditions = renditions
        self._with_links = with_links
        self._tombstone_ttl = tombstone_ttl

    async def get_many(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, Found]:
        """Return the cached entries of ``variants``. A foreign value is removed, to be replaced by an entry."""
        async with self._guard.bounded():
            answers = await self._read(variants)
        found: dict[ImageVariant, Found] = {}
        garbage: list[tuple[ImageVariant, bytes]] = []
        slices = TimeSlices() if len(variants) > 1 else None
        for variant, answer in zip(variants, answers, strict=True):
            if slices is not None:
                await slices.pause()
            found[variant] = there = self._trusted(variant, answer)
            if answer is not None and there.is_foreign:
                garbage.append((variant, answer))
        if garbage:
            await self._remove_garbage(garbage)
        return found

    async def _remove_garbage(self, garbage: Sequence[tuple[ImageVariant, bytes]]) -> None:
        """Remove values that are no entries, in one round trip. A Redis that takes no writes still answers reads."""
        with suppress(CacheUnavailable):
            async with self._guard.bounded():
                pipeline = self._guard.client.pipeline(transaction=False)
                for variant, value in garbage:
                    pipeline.eval(*drop_if_same(key=self._key(variant), value=value))
                await pipeline.execute()

    async def read_headers(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryHeader]:
        """Return the headers of the entries: enough to see which to renew, and far cheaper than decoding them."""
        async with self._guard.bounded():
            answers = await self._read(variants)
        return {variant: _entry_header(answer) for variant, answer in zip(variants, answers, strict=True)}

    async def put_many(
        self,
        entries: Sequence[tuple[SignedImage, bytes]],
        now: float,
        lifetime: Lifetime,
        *,
        due: Mapping[ImageVariant, float] = _NOT_DUE,
        index_keys: Sequence[str] = (),
        index_life: int = 0,
    ) -> dict[ImageVariant, bool]:
        """Keep each image for as long as its URL may be used, unless the entry there is good and ends later.

        Each image comes with the tombstone found before its row was read: an image dropped since is not kept. Returns
        for each image whether it was kept.

        With ``index_keys`` (the indexes ``used`` and ``expiry``, the keys of the refresh queue; never in a Cluster)
        those kept are indexed for ``index_life`` seconds and queued for when they are ``due``, in the same round trip.
        """
        client, calls = self._guard.client, []
        slices = TimeSlices() if len(entries) > 1 else None
        async with self._guard.bounded():
            for group in self._guard.together(entries):
                keys = [self._key(_variant_of(image)) for image, _ in group]
                values: list[bytes | str | float] = []
                for image, tombstone in group:
                    if slices is not None:
                        await slices.pause()
                    variant = _variant_of(image)
                    usable_for = image.presigned.expires_at - lifetime.margin(image.presigned) - math.ceil(now)
                    values += self._mac.sign(encode(image, self._urls), variant), tombstone, usable_for
                    values += encode_variant(variant), due.get(variant, "")
                latest_end = math.ceil(now) + BACKDATE + lifetime.ttl
                calls.append(
                    keep_entries(
                        entries=keys,
                        sets=index_keys,
                        latest_end=latest_end,
                        now=now,
                        index_life=index_life,
                        values=values,
                    )
                )
            if len(calls) == 1:
                answers = [await client.eval(*calls[0])]
            else:
                pipeline = client.pipeline(transaction=False)
                for call in calls:
                    pipeline.eval(*call)
                answers = await pipeline.execute()
        kept = [done for answer in answers for done in answer]
        return {_variant_of(image): bool(done) for (image, _), done in zip(entries, kept, strict=True)}

    async def drop(self, variants: Sequence[ImageVariant]) -> None:
        """Replace each entry by a tombstone, so that a concurrent write cannot restore it."""
        tombstone = b"-" + secrets.token_hex(8).encode()
        milliseconds = int(self._tombstone_ttl * 1000)
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for group in self._guard.together(variants):
                keys = list(map(self._key, group))
                pipeline.eval(*drop_entries(entries=keys, tombstone=tombstone, milliseconds=milliseconds))
            await pipeline.execute()

    async def remove(self, variants: Sequence[ImageVariant]) -> None:
        """Remove entries without a tombstone: they may come back at any time."""
        async with self._guard.bounded():
            pipeline = self._guard.client.pipeline(transaction=False)
            for group in self._guard.together(variants):
                pipeline.unlink(*map(self._key, group))
            await pipeline.execute()

    async def _read(self, variants: Sequence[ImageVariant]) -> list[bytes | None]:
        """Return the values. A value of the wrong type reads as None, and the next write replaces it."""
        groups = self._guard.together(variants)
        if len(groups) == 1:
            values: list[bytes | None] = await self._guard.client.mget(*map(self._key, variants))
            return values
        pipeline = self._guard.client.pipeline(transaction=False)
        for variant in variants:
            pipeline.get(self._key(variant))
        answers = await pipeline.execute(raise_on_error=False)
        return [_value(answer) for answer in answers]

    def _key(self, variant: ImageVariant) -> str:
        image_id, rendition = variant
        if rendition is not None:
            return self._guard.key("url", image_id, rendition)
        if ":" in image_id and _SPELLS_A_VARIANT.fullmatch(image_id):
            return self._guard.key("url", image_id + _ORIGINAL_MARK)
        return self._guard.key("url", image_id)

    def _trusted(self, variant: ImageVariant, answer: bytes | None) -> Found:
        if answer is None:
            return _NOTHING
        if answer.startswith(b"-"):
            return Found(tombstone=answer)
        entry, _, tombstone = answer.partition(_TOMBSTONE_MARK)
        try:
            image = decode(self._mac.verify(entry, variant), variant, self._urls, self._renditions)
        except ValueError:
            return _FOREIGN
        has_links = image.record.links_killed is not None or not self._with_links
        return Found(image, tombstone) if has_links else _FOREIGN


def _value(answer: Any) -> bytes | None:
    """Return an answer as MGET gives it. A Cluster takes no MGET for keys in several slots."""
    if isinstance(answer, Exception):
        if is_wrong_type(answer):
            return None
        raise answer
    value: bytes | None = answer
    return value


def _entry_header(answer: bytes | None) -> EntryHeader:
    if answer is None:
        return EntryHeader()
    if answer.startswith(b"-"):
        return EntryHeader(tombstone=answer)
    end = answer.partition(b" ")[0]
    tombstone = answer.partition(_TOMBSTONE_MARK)[2]
    return EntryHeader(int(end) if end.isdigit() and len(end) < 12 else None, tombstone)


def _variant_of(image: SignedImage) -> ImageVariant:
    return ImageVariant(image.record.image_id, image.rendition)
