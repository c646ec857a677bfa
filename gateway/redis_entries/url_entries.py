"""The cached URLs in Redis: signed images as JSON arrays with a MAC, which vouches for all that is in them."""

import binascii
import hashlib
import hmac
import json
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NamedTuple, NewType

from gateway.catalog.record import ImageRecord
from gateway.concurrency.time_limits import TimeSlices, in_groups
from gateway.presign.signer import Authorization, PresignedUrl, SignedImage, Signer, shared_second
from gateway.presign.style_variants import ImageVariant
from gateway.presign.url_lifetime import Lifetime
from gateway.redis_connection.guarded_client import CacheUnavailable, Command
from gateway.redis_connection.shards import Shard, Shards, encode_variant
from gateway.redis_entries.entry_scripts import DROP_ENTRIES, KEEP_ENTRIES, EntryRow
from gateway.redis_entries.usage_store import INDEX_LIFE
from gateway.settings import Live

_PURPOSE = b"image-gateway: entries of the URL cache"
_FINGERPRINT = b"image-gateway: fingerprint of the secret"
_FINGERPRINT_BYTES = 4
_FORMAT = "6"  # another number for each change of what an entry means, so that no release misreads an entry
_MAC_BYTES = 16  # each guess costs a write to Redis and a request
_MAC_CHARACTERS = 22  # without padding
_to_json: Final[Callable[[Any], str]] = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_from_json: Final[Callable[[str], tuple[Any, int]]] = json.JSONDecoder().raw_decode
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
_CARRIED: Final = re.compile(rb"\n(-[0-9a-f]+)\Z")  # by any value, as the script finds it
_MOST_DIGITS: Final = 12  # of the end of a URL: other programs can write to Redis


class EntryMac:
    """A keyed hash (BLAKE2b) over cached URLs in Redis, with the same secret on every replica.

    An entry says who owns an image and whether the image is public. With the MAC, a program that can write to Redis can
    at most put back what a gateway wrote about that image before. While the secret changes, entries with a MAC by the
    ``previous`` secret are accepted, too.
    """

    def __init__(self, secrets: Live[tuple[str, str | None]], *context: str) -> None:
        """``secrets`` are the secret and the previous one.

        ``context``: what a writer and a reader must have in common besides, because entries do not say it: the sources
        of rows (``Settings.sources``), and the hosts of buckets (``Hosts.named``).
        """
        derived = "\n".join((_FORMAT, *context)).encode()
        self._purposes = secrets.map(
            lambda both: [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in both if secret is not None]
        )
        self._keyed = self._purposes.map(
            lambda keys: [
                hashlib.blake2b(key=hmac.digest(key, derived, "sha256"), digest_size=_MAC_BYTES) for key in keys
            ]
        )

    @property
    def fingerprint(self) -> str:
        """A short hash that is the same on replicas with the same secret, and tells nothing of the secret."""
        return hmac.digest(self._purposes.value[0], _FINGERPRINT, "sha256")[:_FINGERPRINT_BYTES].hex()

    def of(self, message: bytes) -> bytes:
        """Return the MAC of a message by the present secret, in base64."""
        return _mac(self._keyed.value[0], message)

    def matches(self, mac: bytes, message: bytes) -> bool:
        """Return whether a gateway with one of the secrets made the MAC."""
        return any(hmac.compare_digest(mac, _mac(keyed, message)) for keyed in self._keyed.value)


def _mac(keyed: "hashlib.blake2b", message: bytes) -> bytes:
    hashed = keyed.copy()
    hashed.update(message)
    return binascii.b2a_base64(hashed.digest(), newline=False)[:_MAC_CHARACTERS]


@dataclass(frozen=True, slots=True)
class EntryCodec:
    """Writes signed images as values of Redis, and reads the values that gateways of this configuration wrote.

    A value is the end of the URL in decimal, the MAC, and a JSON array: when the URL was signed and its row was read,
    SecretId, signature and token, and the row (``ImageRecord.as_row``). A script can compare the end without parsing. A
    reader builds the rest of the URL from the row and its configuration. The MAC is over that part of the configuration
    as well, so what it vouches for is not checked again.
    """

    mac: EntryMac
    signer: Signer

    def is_current(self, image: SignedImage) -> bool:
        """Return whether the URL is by the present rule of its rendition. No other image may be encoded."""
        rendition, renditions = image.rendition, self.signer.renditions.value
        return rendition is None or image.object_id.template == renditions.template(rendition)

    def encode(self, image: SignedImage) -> bytes:
        """Return the value of an image. Raises ``ValueError`` for a URL that no signer made."""
        record, presigned = image.record, image.presigned
        own = self.signer.authorization_of(presigned.url)
        if own is None:
            raise ValueError("not a URL of a signer")
        end = b"%d" % presigned.expires_at
        body = _to_json((presigned.signed_at, image.read_at, *own, *record.as_row())).encode()
        message = self._message(ImageVariant(record.image_id, image.rendition), end, body)
        return b"%b %b %b" % (end, self.mac.of(message), body)

    def decode(self, value: bytes, variant: ImageVariant) -> SignedImage:
        """Return the image of ``variant``, with a URL that is equal to the signed one.

        Raises ``ValueError`` for the value of another variant, of a gateway with another secret, release or
        configuration, or of another program.
        """
        end, mac, body = value.split(b" ", 2)
        image_id, rendition = variant
        is_configured = self.signer.renditions.value.has(rendition)
        if not is_configured or not self.mac.matches(mac, self._message(variant, end, body)):
            raise ValueError("not signed by a gateway with this secret and configuration")
        signed_at, read_at, secret_id, signature, token, *row = _from_json(body.decode())[0]
        record, expires_at = ImageRecord.from_row(image_id, row), int(end)
        url = self.signer.rebuild(record, rendition, Authorization(secret_id, signature, token), signed_at, expires_at)
        if url is None:
            raise ValueError("a longer life than this configuration gives a URL")
        presigned = PresignedUrl(url, shared_second(signed_at), shared_second(expires_at))
        return self.signer.image_of(record, rendition, presigned, read_at)

    def _message(self, variant: ImageVariant, end: bytes, body: bytes) -> bytes:
        """Return what the MAC is over: the variant with its rule, the end, and the body, none of which has a NUL."""
        rendition, renditions = variant.rendition, self.signer.renditions.value
        rule = b"" if rendition is None else renditions.get(rendition).template.encode()
        return b"%b\0%b\0%b %b" % (encode_variant(variant).encode(), rule, end, body)


class EntryLookUp(NamedTuple):
    """The result of looking a cached URL up in Redis.

    image: None when there is no entry, when the image was dropped recently, or when the value is ``foreign``.
    tombstone: of the image's last drop, under the key or in the entry.
    expires_at: the end that the value claims, also a foreign one. None when there is no entry.
    foreign: the value of another program, or of a gateway with another secret, release or configuration. Else None.
    """

    image: SignedImage | None = None
    tombstone: Tombstone = NO_TOMBSTONE
    expires_at: int | None = None
    foreign: bytes | None = None


_NOTHING: Final = EntryLookUp()


class Made(NamedTuple):
    """An image with a new URL, and what Redis had before its row was read (``there``)."""

    image: SignedImage
    there: EntryLookUp = _NOTHING


@dataclass(frozen=True, slots=True)
class UrlEntries:
    """Reads and writes the presigned URLs in Redis, which replicas share. An entry is kept while its URL may be used.

    codec: decides whether a gateway with the same secret and configuration wrote an entry. No other entry is used.
    renews: an entry is queued for its renewal.
    with_links: links are signed, so an entry without the count of killed links is not used.
    tombstone_ttl: for how many seconds a dropped image leaves a mark (tombstone). It must be longer than a renewal
        takes from reading the row to writing the entry.

    What is asked about several shards is answered by those whose server answers. Raises ``CacheUnavailable`` if none
    does.
    """

    shards: Shards
    codec: EntryCodec
    lifetime: Lifetime
    now: Callable[[], float] = time.time
    renews: bool = True
    with_links: bool = False
    tombstone_ttl: float = 30.0

    async def find(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryLookUp]:
        """Return the cached entries of ``variants``.

        A foreign value stays until ``keep`` replaces it: while no row can be read, the gateways that wrote it use it.
        """
        found: dict[ImageVariant, EntryLookUp] = {}
        slices = TimeSlices()
        for variant, answer in (await self._read(variants)).items():
            await slices.pause()
            found[variant] = self._trusted(variant, answer)
        return found

    async def read_headers(self, variants: Sequence[ImageVariant]) -> dict[ImageVariant, EntryLookUp]:
        """Return the entries without their images: enough to see which to renew, and far cheaper than decoding them."""
        return {variant: _header_of(answer) for variant, answer in (await self._read(variants)).items()}

    async def keep(self, made: Sequence[Made], hits: Mapping[ImageVariant, float] = _NO_HITS) -> None:
        """Keep each image for as long as its URL may be used, unless the entry there is good and ends later.

        A foreign value is replaced if it is still the value from before the row was read. An image dropped since then
        is not kept. The images kept are indexed and queued for their renewal in the same step, images with more
        ``hits`` for an earlier one. Raises ``CacheUnavailable`` after the other shards are written, if the server of a
        shard fails.
        """
        now = self.now()
        for some in in_groups(made, _KEPT_AT_ONCE):
            await self._keep(some, hits, now)

    async def _keep(self, entries: Sequence[Made], hits: Mapping[ImageVariant, float], now: float) -> None:
        by_variant = {
            ImageVariant(made.image.record.image_id, made.image.rendition): made
            for made in entries
            if self.codec.is_current(made.image)
        }
        commands: dict[Shard, list[Command]] = {}
        slices = TimeSlices()
        for shard, own in self.shards.split(by_variant).items():
            rows: list[EntryRow] = []
            for variant in own:
                await slices.pause()
                image, there = by_variant[variant]
                usable_for = image.presigned.expires_at - self.lifetime.margin(image.presigned) - math.ceil(now)
                due = self.lifetime.due_at(image.presigned, hits.get(variant, 0)) if self.renews else ""
                value, word = self.codec.encode(image), encode_variant(variant)
                rows.append(EntryRow(value, there.tombstone, there.foreign or b"", usable_for, word, due))
            keeping = KEEP_ENTRIES.command(
                used=shard.used,
                expiry=shard.expiry,
                queue=shard.queue,
                attempts=shard.attempts,
                dead=shard.dead,
                entries=[shard.entry(variant) for variant in own],
                latest_end=self.lifetime.latest_end(now),
                now=now,
                index_life=INDEX_LIFE,
                rows=rows,
            )
            commands[shard] = [keeping]
        (await self.shards.run(commands)).complete()

    async def drop(self, image_ids: Sequence[str]) -> None:
        """Replace the entries of changed or deleted images by tombstones: a concurrent write cannot restore them.

        Their ends and renewals, failed ones too, are removed in the same step, and their metadata. The usage stays: a
        changed row still names the same image. Raises ``CacheUnavailable`` if a server fails, which may come back with
        the images.
        """
        renditions = self.codec.signer.renditions.value
        variants = [ImageVariant(*pair) for pair in product(image_ids, (None, *renditions.names))]
        failed: dict[Shard, CacheUnavailable] = {}
        for some in in_groups(variants, _DROPPED_AT_ONCE):
            failed.update(await self._drop(some))
        for error in failed.values():
            raise error

    async def _drop(self, variants: Sequence[ImageVariant]) -> Mapping[Shard, CacheUnavailable]:
        """Return the shards whose server failed, with the reason."""
        tombstone = b"-" + secrets.token_hex(8).encode()

        def dropping(shard: Shard, own: Sequence[ImageVariant]) -> list[Command]:
            replacing = DROP_ENTRIES.command(
                expiry=shard.expiry,
                queue=shard.queue,
                attempts=shard.attempts,
                dead=shard.dead,
                entries=[shard.entry(variant) for variant in own],
                tombstone=tombstone,
                milliseconds=int(self.tombstone_ttl * 1000),
                rows=[(encode_variant(variant),) for variant in own],
            )
            return [replacing, ("UNLINK", *{shard.metadata(variant.image_id) for variant in own})]

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
        if answer is None or answer.startswith(b"-"):
            return _header_of(answer)
        value, _, tombstone = answer.partition(_TOMBSTONE_MARK)
        try:
            image = self.codec.decode(value, variant)
        except ValueError:
            image = None
        if image is None or (image.record.links_killed is None and self.with_links):
            return _header_of(answer)._replace(foreign=answer)
        return EntryLookUp(image, Tombstone(tombstone), image.presigned.expires_at)


def _header_of(answer: bytes | None) -> EntryLookUp:
    if answer is None:
        return _NOTHING
    if answer.startswith(b"-"):
        return EntryLookUp(tombstone=Tombstone(answer))
    end, carried = answer.partition(b" ")[0], _CARRIED.search(answer)
    tombstone = Tombstone(carried[1]) if carried is not None else NO_TOMBSTONE
    return EntryLookUp(None, tombstone, int(end) if end.isdigit() and len(end) < _MOST_DIGITS else None)
