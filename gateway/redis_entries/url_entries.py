"""The cached URLs in Redis: signed images as JSON with a MAC, which is validated when it is read."""

import base64
import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from operator import attrgetter
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.catalog.record import ImageRecord, Viewers, check_bucket_and_region, check_object_key
from gateway.concurrency.time_limits import TimeSlices, in_groups
from gateway.presign.signer import BACKDATE, Authorization, ObjectId, PresignedUrl, SignedImage, Signer, shared_second
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.presign.url_lifetime import Lifetime
from gateway.redis_connection.guarded_client import CacheUnavailable, Command
from gateway.redis_connection.shards import Shard, Shards, encode_variant
from gateway.redis_entries.entry_scripts import drop_entries, drop_if_same, keep_entries
from gateway.redis_entries.usage_store import INDEX_LIFE
from gateway.settings import Live

_PURPOSE = b"image-gateway: entries of the URL cache"
_FINGERPRINT = b"image-gateway: fingerprint of the secret"
_FINGERPRINT_BYTES = 4
_MAC_BYTES = 16  # each guess costs a write to Redis and a request
_CHECK_BYTES = 6  # distinguishes configurations; the MAC prevents forgery
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_NO_HITS: Mapping[ImageVariant, float] = {}
_RENEWAL_LOCK: Final = 1  # second
# The most variants of one command: packing them blocks the event loop, and the script Redis, for under a millisecond.
_DROPPED_AT_ONCE: Final = 200
_KEPT_AT_ONCE: Final = 100
# Between an entry and the tombstone it took the place of: its JSON has no line break.
_TOMBSTONE_MARK: Final = b"\n"
_MOST_DIGITS: Final = 12  # of the end of a URL: other programs can write to Redis


class _Entry(BaseModel):
    """A cached URL as JSON in Redis. ``v`` grows when the meaning changes, so that no release misreads an entry.

    ``ak``, ``sig`` and ``token`` are the URL's SecretId, signature and security token. Readers build the rest of the
    URL from the row and the configuration; ``check`` is a hash of the signed URL.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    v: Literal[5]
    ak: str
    sig: str
    token: str | None = None
    check: str
    owner: str | None = None
    public: bool
    bucket: str
    region: str
    key: Annotated[str, AfterValidator(check_object_key)]
    content_type: str | None = Field(None, alias="type")
    signed_at: int
    read_at: int
    links_killed: int | None = Field(None, alias="killed")
    width: int | None = None
    height: int | None = None
    focus: str | None = None
    version: str | None = None
    placeholder: str | None = None
    viewers: Viewers | None = None

    @model_validator(mode="after")
    def _lies_where_cos_could_have_it(self) -> Self:
        check_bucket_and_region(self.bucket, self.region)
        return self


# The fields of a row after its id, and their names in an entry.
_ROW: Final = [field.name for field in fields(ImageRecord)][1:]
_ROW_NAMES: Final = [_Entry.model_fields[field].alias or field for field in _ROW]
_row_of: Final = attrgetter(*_ROW)


def encode(image: SignedImage, signer: Signer) -> bytes:
    """Return the end of the URL in decimal, a space, and JSON: a script can compare the end without parsing.

    Raises ``ValueError`` for a URL that no signer made.
    """
    record, presigned = image.record, image.presigned
    own = signer.authorization_of(presigned.url)
    if own is None:
        raise ValueError("not a URL of a signer")
    entry = {"v": 5, "ak": own.secret_id, "sig": own.signature, "check": _check(presigned.url)}
    entry |= {"signed_at": presigned.signed_at, "read_at": image.read_at}
    if own.token is not None:
        entry["token"] = own.token
    # Most rows lack some of these, and there may be a million entries: values that are None are omitted.
    row = zip(_ROW_NAMES, _row_of(record), strict=True)
    entry |= {name: value for name, value in row if value is not None}
    return b"%d %s" % (presigned.expires_at, _to_json(entry).encode())


def decode(data: bytes, variant: ImageVariant, signer: Signer, renditions: Renditions) -> SignedImage:
    """Return the entry of ``variant`` with its URL, which is built again and equal to the signed one.

    Raises ``ValueError`` for any other text, and if this configuration makes another URL. Whether everybody may see the
    rendition is configured, so ``renditions`` decide it, not only the entry.
    """
    end, _, body = data.partition(b" ")
    try:
        entry = _Entry.model_validate_json(body)
    except ValidationError:
        raise ValueError("not an entry of this release") from None
    (image_id, rendition), expires_at = variant, int(end)
    record = ImageRecord(image_id, *_row_of(entry))
    own = Authorization(entry.ak, entry.sig, entry.token)
    url = signer.rebuild(record, rendition, own, entry.signed_at, expires_at)
    if url is None or _check(url) != entry.check:
        raise ValueError("the entry of a gateway with another configuration")
    return SignedImage(
        record=record,
        presigned=PresignedUrl(url, shared_second(entry.signed_at), shared_second(expires_at)),
        rendition=rendition,
        read_at=shared_second(entry.read_at),
        named=None if rendition is None else ObjectId.of(record, rendition, renditions.revision(rendition)),
        public=renditions.is_for_everybody(rendition, image_is_public=entry.public),
    )


def _check(url: str) -> str:
    return hashlib.blake2b(url.encode(), digest_size=_CHECK_BYTES).hexdigest()


class EntryMac:
    """HMAC over a cached URL in Redis, its variant and the sources of rows, with the same secret on every replica.

    An entry says who owns an image and whether the image is public. With the MAC, a program that can write to Redis can
    at most put back what a gateway wrote about that image before. While the secret changes, entries with a MAC by the
    ``previous`` secret are accepted, too. Gateways that read rows from other sources accept no entry of each other.
    """

    def __init__(self, secrets: Live[tuple[str, str | None]], sources: str) -> None:
        """``secrets`` are the secret and the previous one. ``sources``: ``Settings.sources``."""
        self._purposes = secrets.map(
            lambda both: [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in both if secret is not None]
        )
        self._keys = self._purposes.map(lambda keys: [hmac.digest(key, sources.encode(), "sha256") for key in keys])

    @property
    def fingerprint(self) -> str:
        """A short hash that is the same on replicas with the same secret, and tells nothing of the secret."""
        return hmac.digest(self._purposes.value[0], _FINGERPRINT, "sha256")[:_FINGERPRINT_BYTES].hex()

    def sign(self, entry: bytes, variant: ImageVariant) -> bytes:
        """Return ``entry`` with the MAC put after its first word, the end of its URL."""
        end, _, rest = entry.partition(b" ")
        return b"%b %b %b" % (end, _digest(self._keys.value[0], entry, variant), rest)

    def verify(self, signed: bytes, variant: ImageVariant) -> bytes:
        """Return the entry without its MAC. Raises ``ValueError`` when no gateway with this secret wrote it."""
        end, _, rest = signed.partition(b" ")
        digest, _, rest = rest.partition(b" ")
        entry = b"%b %b" % (end, rest)
        if not any(hmac.compare_digest(digest, _digest(key, entry, variant)) for key in self._keys.value):
            raise ValueError("not signed by a gateway with this secret")
        return entry


def _digest(key: bytes, entry: bytes, variant: ImageVariant) -> bytes:
    # The line break ends the word, which contains none.
    message = b"%b\n%b" % (encode_variant(variant).encode(), entry)
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")[:_MAC_BYTES]).rstrip(b"=")


@dataclass(frozen=True, slots=True)
class EntryLookUp:
    """The result of looking a cached URL up in Redis.

    image: None when there is no entry, when the image was dropped recently, or when the value ``is_foreign``.
    tombstone: the mark of the image's last drop, under the key or in the entry; b"" without one. ``keep``, which writes
    an entry after this look-up, needs it.
    expires_at: the end that the value claims, also a foreign one. None when there is no entry.
    is_foreign: another program wrote the value, or a gateway with another secret, release or configuration.
    """

    image: SignedImage | None = None
    tombstone: bytes = b""
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

    mac, signer: decide whether a gateway with the same secret and configuration wrote an entry. No other entry is used.

    What is asked about several shards is answered by those whose server answers. Raises ``CacheUnavailable`` if none
    does.
    """

    shards: Shards
    mac: EntryMac
    signer: Signer
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
        self, made: Sequence[tuple[SignedImage, bytes]], hits: Mapping[ImageVariant, float] = _NO_HITS
    ) -> dict[ImageVariant, bool]:
        """Keep each image for as long as its URL may be used, unless the entry there is good and ends later.

        Each image comes with the tombstone found before its row was read: an image dropped since is not kept. Returns
        for each image whether it was kept. The images kept are indexed and queued for their renewal in the same step,
        images with more ``hits`` for an earlier one. Raises ``CacheUnavailable`` after the other shards are written, if
        the server of a shard fails.
        """
        now = self.now()
        kept: dict[ImageVariant, bool] = {}
        for some in in_groups(made, _KEPT_AT_ONCE):
            kept |= await self._keep(some, hits, now)
        return kept

    async def _keep(
        self, entries: Sequence[tuple[SignedImage, bytes]], hits: Mapping[ImageVariant, float], now: float
    ) -> dict[ImageVariant, bool]:
        by_variant = {ImageVariant(made[0].record.image_id, made[0].rendition): made for made in entries}
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
                values += self.mac.sign(encode(image, self.signer), variant), tombstone, usable_for
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
            entry = self.mac.verify(answer.partition(_TOMBSTONE_MARK)[0], variant)
            image = decode(entry, variant, self.signer, self.renditions)
        except ValueError:
            image = None
        if image is None or (image.record.links_killed is None and self.rules.with_links):
            return EntryLookUp(expires_at=header.expires_at, is_foreign=True)
        return EntryLookUp(image, header.tombstone, header.expires_at)


def _header_of(answer: bytes | None) -> EntryLookUp:
    if answer is None:
        return EntryLookUp()
    if answer.startswith(b"-"):
        return EntryLookUp(tombstone=answer)
    end, tombstone = answer.partition(b" ")[0], answer.partition(_TOMBSTONE_MARK)[2]
    return EntryLookUp(None, tombstone, int(end) if end.isdigit() and len(end) < _MOST_DIGITS else None)
