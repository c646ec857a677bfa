"""The cached URLs in Redis: read, written, and dropped with a tombstone."""

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple, NewType

from gateway.concurrency.time_limits import TimeSlices, in_groups
from gateway.presign.signer import BACKDATE, SignedImage
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.presign.url_lifetime import Lifetime
from gateway.redis_connection.guarded_client import CacheUnavailable, Command
from gateway.redis_connection.shards import Shard, Shards, encode_variant
from gateway.redis_entries.entry_codec import EntryCodec
from gateway.redis_entries.entry_scripts import drop_entries, drop_if_same, keep_entries
from gateway.redis_entries.usage_store import INDEX_LIFE

# The mark of an image's last drop: a writer that did not see it before it read the row writes nothing.
Tombstone = NewType("Tombstone", bytes)
NO_TOMBSTONE: Final = Tombstone(b"")
_NO_HITS: Mapping[ImageVariant, float] = {}
_RENEWAL_LOCK: Final = 1  # second
# The most variants of one command: packing them blocks the event loop, and the script Redis, for under a millisecond.
_DROPPED_AT_ONCE: Final = 200
_KEPT_AT_ONCE: Final = 100
# Between an entry and the tombstone it took the place of: its JSON has no line break.
_TOMBSTONE_MARK: Final = b"\n"
_MOST_DIGITS: Final = 12  # of the end of a URL: other programs can write to Redis


class Made(NamedTuple):
    """An image with a new URL, and the tombstone that was ``seen`` before its row was read."""

    image: SignedImage
    seen: Tombstone = NO_TOMBSTONE


class EntryLookUp(NamedTuple):
    """The result of looking a cached URL up in Redis.

    image: None when there is no entry, when the image was dropped recently, or when the value ``is_foreign``.
    tombstone: of the image's last drop, under the key or in the entry. ``keep``, which writes an entry after this
    look-up, needs it.
    expires_at: the end that the value claims, also a foreign one. None when there is no entry.
    is_foreign: another program wrote the value, or a gateway with another secret, release or configuration.
    """

    image: SignedImage | None = None
    tombstone: Tombstone = NO_TOMBSTONE
    expires_at: int | None = None
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class EntryRules:
    """Rules of ``UrlEntries``: which URLs it uses and renews, and how long a dropped image leaves a mark (tombstone).

    renews: an entry is queued for its renewal.
    with_links: links are signed, so an entry without the count of killed links is not used.
    tombstone_ttl: for how many seconds a dropped image leaves a tombstone. It must be longer than a renewal takes from
    reading the row to writing the entry.
    """

    renews: bool = True
    with_links: bool = False
    tombstone_ttl: float = 30.0


@dataclass(frozen=True, slots=True)
class UrlEntries:
    """Reads and writes the presigned URLs in Redis, which replicas share. An entry is kept while its URL may be used.

    codec: decides whether a gateway with the same secret and configuration wrote an entry. No other entry is used.

    What is asked about several shards is answered by those whose server answers. Raises ``CacheUnavailable`` if none
    does.
    """

    shards: Shards
    codec: EntryCodec
    renditions: Renditions
    lifetime: Lifetime
    rules: EntryRules = EntryRules()
    now: Callable[[], float] = time.time

    async def find(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryLookUp]:
        """Return the cached entries of ``variants``. A foreign value is removed, to be replaced by an entry."""
        answers = await self._read(variants)
        found: dict[ImageVariant, EntryLookUp] = {}
        garbage: dict[ImageVariant, bytes] = {}
        slices = TimeSlices()
        for variant, answer in answers.items():
            await slices.pause()
            found[variant] = there = self._trusted(variant, answer)
            if answer is not None and there.is_foreign:
                garbage[variant] = answer
        if garbage:  # a Redis that takes no writes still answers reads, so whether this works does not matter
            await self.shards.run_split(
                garbage, lambda shard, own: [drop_if_same(key=shard.entry(each), value=garbage[each]) for each in own]
            )
        return found

    async def read_headers(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryLookUp]:
        """Return the entries without their images: enough to see which to renew, and far cheaper than decoding them."""
        return {variant: _header_of(answer) for variant, answer in (await self._read(variants)).items()}

    async def keep(
        self, made: Sequence[Made], hits: Mapping[ImageVariant, float] = _NO_HITS
    ) -> dict[ImageVariant, bool]:
        """Keep each image for as long as its URL may be used, unless the entry there is good and ends later.

        An image dropped since its row was read is not kept. Return for each image whether it was kept. The images kept
        are indexed and queued for their renewal in the same step, images with more ``hits`` for an earlier one. Raises
        ``CacheUnavailable`` after the other shards are written, if the server of a shard fails.
        """
        now = self.now()
        kept: dict[ImageVariant, bool] = {}
        for some in in_groups(made, _KEPT_AT_ONCE):
            kept |= await self._keep(some, hits, now)
        return kept

    async def _keep(
        self, entries: Sequence[Made], hits: Mapping[ImageVariant, float], now: float
    ) -> dict[ImageVariant, bool]:
        by_variant = {
            ImageVariant(made.image.record.image_id, made.image.rendition): made
            for made in entries
            if self.codec.is_current(made.image)
        }
        groups = self.shards.split(by_variant)
        commands: dict[Shard, list[Command]] = {}
        slices = TimeSlices()
        for shard, own in groups.items():
            values: list[bytes | str | float] = []
            for variant in own:
                await slices.pause()
                image, tombstone = by_variant[variant]
                usable_for = image.presigned.expires_at - self.lifetime.margin(image.presigned) - math.ceil(now)
                due = self.lifetime.due_at(image.presigned, hits.get(variant, 0)) if self.rules.renews else ""
                values += self.codec.encode(image), tombstone, usable_for
                values += encode_variant(variant), due
            call = keep_entries(
                entries=[shard.entry(variant) for variant in own],
                sets=(shard.used, shard.expiry, shard.queue, shard.attempts, shard.dead),
                latest_end=math.ceil(now) + BACKDATE + self.lifetime.ttl,
                now=now,
                index_life=INDEX_LIFE,
                values=values,
            )
            commands[shard] = [call]
        answers = (await self.shards.run(commands)).complete()
        return {
            variant: bool(done)
            for shard, [group] in answers.items()
            for variant, done in zip(groups[shard], group, strict=True)
        }

    async def drop(self, image_ids: Sequence[str]) -> None:
        """Replace the entries of changed or deleted images by tombstones: a concurrent write cannot restore them.

        Their ends, renewals, failed ones too, and metadata are removed in the same step. The usage stays: a changed row
        still names the same image. Raises ``CacheUnavailable`` if a server fails, which may come back with the images.
        """
        variants = [ImageVariant(*pair) for pair in product(image_ids, (None, *self.renditions.names))]
        failed: dict[Shard, CacheUnavailable] = {}
        for some in in_groups(variants, _DROPPED_AT_ONCE):
            failed.update(await self._drop(some))
        for error in failed.values():
            raise error

    async def _drop(self, variants: Sequence[ImageVariant]) -> Mapping[Shard, CacheUnavailable]:
        """Return the shards whose server failed, with the reason."""
        tombstone = b"-" + secrets.token_hex(8).encode()

        def dropping(shard: Shard, own: Sequence[ImageVariant]) -> list[Command]:
            call = drop_entries(
                entries=[shard.entry(variant) for variant in own],
                sets=(shard.expiry, shard.queue, shard.attempts, shard.dead),
                metadata=[shard.metadata(image_id) for image_id in {variant.image_id for variant in own}],
                tombstone=tombstone,
                milliseconds=int(self.rules.tombstone_ttl * 1000),
                words=[encode_variant(variant) for variant in own],
            )
            return [call]

        return (await self.shards.run_split(variants, dropping)).failed

    async def remove(self, variants: Sequence[ImageVariant]) -> None:
        """Remove entries without a tombstone: they may come back at any time."""
        (await self.shards.run_split(variants, lambda shard, own: [("UNLINK", *map(shard.entry, own))])).complete()

    async def lock_refresh(self, variant: ImageVariant) -> bool:
        """Return whether this caller is the first within a second to renew the variant on demand."""
        shard = self.shards.of(variant.image_id)
        key = shard.key("refresh", "lock", encode_variant(variant))
        [answer] = await self.shards.run_on(shard, ("SET", key, b"", "NX", "EX", _RENEWAL_LOCK))
        return bool(answer)

    async def _read(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, bytes | None]:
        """Return the values. A value of the wrong type reads as None (MGET), and the next write replaces it."""
        found = await self.shards.values(variants, lambda shard, own: [("MGET", *map(shard.entry, own))])
        return {variant: value for variant, (value,) in found.items()}

    def _trusted(self, variant: ImageVariant, answer: bytes | None) -> EntryLookUp:
        header = _header_of(answer)
        if answer is None or answer.startswith(b"-"):
            return header
        try:
            image = self.codec.decode(answer.partition(_TOMBSTONE_MARK)[0], variant)
        except ValueError:
            image = None
        if image is None or (image.record.links_killed is None and self.rules.with_links):
            return EntryLookUp(expires_at=header.expires_at, is_foreign=True)
        return EntryLookUp(image, header.tombstone, header.expires_at)


def _header_of(answer: bytes | None) -> EntryLookUp:
    if answer is None:
        return EntryLookUp()
    if answer.startswith(b"-"):
        return EntryLookUp(tombstone=Tombstone(answer))
    end, tombstone = answer.partition(b" ")[0], answer.partition(_TOMBSTONE_MARK)[2]
    return EntryLookUp(None, Tombstone(tombstone), int(end) if end.isdigit() and len(end) < _MOST_DIGITS else None)
