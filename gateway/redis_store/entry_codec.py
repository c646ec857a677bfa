"""The encoding of a signed image, with a MAC, and of a variant in Redis; both are validated when they are read."""

import hmac
import json
import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.catalog.record import ImageRecord, check_bucket_and_region, check_object_key
from gateway.presign.renditions import RENDITION_NAME, Renditions
from gateway.presign.signed_image import ImageVariant, ObjectId, PresignedUrl, SignedImage

_PURPOSE = b"image-gateway: entries of the URL cache"
_DIGITS = 32  # 128 bits: each guess costs a write to Redis and a request
_SEPARATOR = "|"  # occurs neither in an id nor in the name of a rendition
_WORD = re.compile(rf"({IMAGE_ID})(?:[{_SEPARATOR}]({RENDITION_NAME}))?")
_OPTIONAL = ("width", "height", "focus", "version", "placeholder")
_NO_STYLES = Renditions({})
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class _Entry(BaseModel):
    """The JSON in Redis. ``v`` grows when its meaning changes, so that replicas of two releases ignore each other's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    v: Literal[4]
    id: str
    rendition: str | None
    owner: str | None
    public: bool
    bucket: str
    region: str
    key: Annotated[str, AfterValidator(check_object_key)]
    type: str | None
    url: str
    signed_at: int
    read_at: int
    killed: int | None
    width: int | None = None
    height: int | None = None
    focus: str | None = None
    version: str | None = None
    placeholder: str | None = None

    @model_validator(mode="after")
    def _lies_where_cos_could_have_it(self) -> Self:
        check_bucket_and_region(self.bucket, self.region)
        return self


def encode(image: SignedImage) -> bytes:
    """Return the end of the URL in decimal, a space, and JSON: a script can compare the end without parsing."""
    record, presigned = image.record, image.presigned
    entry = {
        "v": 4,
        "id": record.image_id,
        "rendition": image.rendition,
        "owner": record.owner,
        "public": record.public,
        "bucket": record.bucket,
        "region": record.region,
        "key": record.key,
        "type": record.content_type,
        "url": presigned.url,
        "signed_at": presigned.signed_at,
        "read_at": image.read_at,
        "killed": record.links_killed,
    }
    for name in _OPTIONAL:  # most tables lack these columns, and a million entries are many bytes
        value = getattr(record, name)
        if value is not None:
            entry[name] = value
    return b"%d %s" % (presigned.expires_at, _to_json(entry).encode())


def decode(data: bytes, image_id: str, rendition: str | None, *, renditions: Renditions = _NO_STYLES) -> SignedImage:
    """Return the entry of ``image_id`` and ``rendition``; raises ``ValueError`` for anything else.

    Whether everybody may see the rendition is configured, so ``renditions`` say it, and not the entry alone.
    """
    end, _, body = data.partition(b" ")
    try:
        entry = _Entry.model_validate_json(body)
    except ValidationError:
        raise ValueError("not an entry of this release") from None
    if (entry.id, entry.rendition) != (image_id, rendition):
        raise ValueError("the entry of another image")
    record = ImageRecord(
        image_id=entry.id,
        owner=entry.owner,
        public=entry.public,
        bucket=entry.bucket,
        region=entry.region,
        key=entry.key,
        content_type=entry.type,
        links_killed=entry.killed,
        width=entry.width,
        height=entry.height,
        focus=entry.focus,
        version=entry.version,
        placeholder=entry.placeholder,
    )
    return SignedImage(
        record=record,
        presigned=PresignedUrl(entry.url, entry.signed_at, int(end)),
        rendition=rendition,
        read_at=entry.read_at,
        object_id=ObjectId.of(record, rendition, renditions.revision(rendition) if rendition is not None else 0),
        public=renditions.is_for_everybody(rendition, image_is_public=entry.public),
    )


class EntryMac:
    """HMAC over cached entries, with the same secret on every replica.

    An entry says who owns an image and whether it is public. With the MAC, a program that can write to Redis can at
    most put back what a gateway wrote about that image before. While the secret changes, entries with a MAC by the
    ``previous`` one are accepted, too.
    """

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self.configure(secret, previous)

    def configure(self, secret: str, previous: str | None = None) -> None:
        """Write with ``secret`` from now on, and accept what was written with either."""
        secrets = (secret,) if previous is None else (secret, previous)
        self._keys = [hmac.digest(one.encode(), _PURPOSE, "sha256") for one in secrets]

    def sign(self, entry: bytes) -> bytes:
        """Return ``entry`` with the MAC put after its first word, the end of its URL."""
        end, _, rest = entry.partition(b" ")
        return b"%b %b %b" % (end, _digest(self._keys[0], entry), rest)

    def verify(self, signed: bytes) -> bytes:
        """Return the entry without its MAC; raises ``ValueError`` when no gateway with this secret wrote it."""
        end, _, rest = signed.partition(b" ")
        digest, _, rest = rest.partition(b" ")
        entry = b"%b %b" % (end, rest)
        if not any(hmac.compare_digest(digest, _digest(key, entry)) for key in self._keys):
            raise ValueError("not signed by a gateway with this secret")
        return entry


def _digest(key: bytes, entry: bytes) -> bytes:
    return hmac.digest(key, entry, "sha256").hex()[:_DIGITS].encode()


def encode_variant(variant: ImageVariant) -> str:
    """Return the word that stands for the variant in sorted sets and hashes."""
    return variant.image_id if variant.rendition is None else f"{variant.image_id}{_SEPARATOR}{variant.rendition}"


def decode_variant(word: bytes) -> ImageVariant:
    """Return the variant that ``encode_variant`` wrote; raises ``ValueError`` for any other word.

    Other programs can write to Redis: a NUL in an id would make the query of a whole batch fail.
    """
    found = _WORD.fullmatch(word.decode("ascii"))
    if found is None:
        raise ValueError("not an image and a rendition")
    return ImageVariant(found[1], found[2])


def decode_variants(words: Iterable[bytes]) -> tuple[list[ImageVariant], list[bytes]]:
    """Return the variants that ``words`` name, and the words that name none."""
    variants: list[ImageVariant] = []
    garbage: list[bytes] = []
    for word in words:
        try:
            variants.append(decode_variant(word))
        except ValueError:
            garbage.append(word)
    return variants, garbage
