"""The encoding of a signed image in Redis, with a MAC. It is validated when it is read."""

import base64
import hashlib
import hmac
import json
from typing import Annotated, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from gateway.catalog.record import ImageRecord, check_bucket_and_region, check_object_key
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import Authorization, ImageVariant, ObjectId, PresignedUrl, SignedImage, shared_second
from gateway.redis_connection.shards import encode_variant
from gateway.settings import Live

_PURPOSE = b"image-gateway: entries of the URL cache"
_FINGERPRINT = b"image-gateway: fingerprint of the secret"
_FINGERPRINT_BYTES = 4
_MAC_BYTES = 16  # each guess costs a write to Redis and a request
_CHECK_BYTES = 6  # distinguishes configurations; the MAC prevents forgery
# Most rows lack some of these, and there may be a million entries: values that are None are omitted.
_OPTIONAL = {
    "owner": "owner",
    "type": "content_type",
    "killed": "links_killed",
    "width": "width",
    "height": "height",
    "focus": "focus",
    "version": "version",
    "placeholder": "placeholder",
}
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class UrlBuilder(Protocol):
    """Splits a URL into the part that the configuration determines and the rest, which an entry holds."""

    def authorization_of(self, url: str) -> Authorization | None:
        """Return SecretId, signature and token of a URL, or None if no signer made the URL."""

    def rebuild(
        self, record: ImageRecord, rendition: str | None, own: Authorization, signed_at: int, expires_at: int
    ) -> str | None:
        """Return the URL that this configuration makes with ``own``, or None if it makes no such URL."""


class _Entry(BaseModel):
    """The JSON in Redis. ``v`` grows when its meaning changes, so that no release misreads the entries of another.

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
    type: str | None = None
    signed_at: int
    read_at: int
    killed: int | None = None
    width: int | None = None
    height: int | None = None
    focus: str | None = None
    version: str | None = None
    placeholder: str | None = None

    @model_validator(mode="after")
    def _lies_where_cos_could_have_it(self) -> Self:
        check_bucket_and_region(self.bucket, self.region)
        return self

    def record(self, image_id: str) -> ImageRecord:
        """Return the row of the image."""
        return ImageRecord(
            image_id=image_id,
            owner=self.owner,
            public=self.public,
            bucket=self.bucket,
            region=self.region,
            key=self.key,
            content_type=self.type,
            links_killed=self.killed,
            width=self.width,
            height=self.height,
            focus=self.focus,
            version=self.version,
            placeholder=self.placeholder,
        )

    def image(
        self, record: ImageRecord, rendition: str | None, url: str, expires_at: int, renditions: Renditions
    ) -> SignedImage:
        """Return the row with its URL.

        Whether everybody may see the rendition is configured, so ``renditions`` decide it, not only the entry.
        """
        return SignedImage(
            record=record,
            presigned=PresignedUrl(url, shared_second(self.signed_at), shared_second(expires_at)),
            rendition=rendition,
            read_at=shared_second(self.read_at),
            named=None if rendition is None else ObjectId.of(record, rendition, renditions.revision(rendition)),
            public=renditions.is_for_everybody(rendition, image_is_public=self.public),
        )


def encode(image: SignedImage, urls: UrlBuilder) -> bytes:
    """Return the end of the URL in decimal, a space, and JSON: a script can compare the end without parsing.

    Raises ``ValueError`` for a URL that no signer made.
    """
    record, presigned = image.record, image.presigned
    own = urls.authorization_of(presigned.url)
    if own is None:
        raise ValueError("not a URL of a signer")
    entry = {
        "v": 5,
        "public": record.public,
        "bucket": record.bucket,
        "region": record.region,
        "key": record.key,
        "ak": own.secret_id,
        "sig": own.signature,
        "check": _check(presigned.url),
        "signed_at": presigned.signed_at,
        "read_at": image.read_at,
    }
    if own.token is not None:
        entry["token"] = own.token
    for name, attribute in _OPTIONAL.items():
        value = getattr(record, attribute)
        if value is not None:
            entry[name] = value
    return b"%d %s" % (presigned.expires_at, _to_json(entry).encode())


def decode(data: bytes, variant: ImageVariant, urls: UrlBuilder, renditions: Renditions) -> SignedImage:
    """Return the entry of ``variant`` with its URL, which is built again and equal to the signed one.

    Raises ``ValueError`` for any other text, and if this configuration makes another URL.
    """
    end, _, body = data.partition(b" ")
    try:
        entry = _Entry.model_validate_json(body)
    except ValidationError:
        raise ValueError("not an entry of this release") from None
    expires_at, record = int(end), entry.record(variant.image_id)
    own = Authorization(entry.ak, entry.sig, entry.token)
    url = urls.rebuild(record, variant.rendition, own, entry.signed_at, expires_at)
    if url is None or _check(url) != entry.check:
        raise ValueError("the entry of a gateway with another configuration")
    return entry.image(record, variant.rendition, url, expires_at, renditions)


def _check(url: str) -> str:
    return hashlib.blake2b(url.encode(), digest_size=_CHECK_BYTES).hexdigest()


class EntryMac:
    """HMAC over a cached entry and its variant, with the same secret on every replica.

    An entry says who owns an image and whether the image is public. With the MAC, a program that can write to Redis can
    at most put back what a gateway wrote about that image before. While the secret changes, entries with a MAC by the
    ``previous`` secret are accepted, too.
    """

    def __init__(self, secrets: Live[tuple[str, str | None]]) -> None:
        """``secrets`` are the secret and the previous one."""
        self._keys = secrets.map(
            lambda both: [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in both if secret is not None]
        )

    @property
    def fingerprint(self) -> str:
        """A short hash that is the same on replicas with the same secret, and tells nothing of the secret."""
        return hmac.digest(self._keys.value[0], _FINGERPRINT, "sha256")[:_FINGERPRINT_BYTES].hex()

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
