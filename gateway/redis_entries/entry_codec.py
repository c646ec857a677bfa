"""The cached URLs as values in Redis: a signed image as a JSON array with a MAC, which vouches for all of it."""

import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.catalog.record import ImageRecord
from gateway.presign.signer import Authorization, PresignedUrl, SignedImage, Signer, shared_second
from gateway.presign.style_variants import ImageVariant
from gateway.redis_connection.shards import encode_variant
from gateway.settings import Live

_PURPOSE = b"image-gateway: entries of the URL cache"
_FINGERPRINT = b"image-gateway: fingerprint of the secret"
_FINGERPRINT_BYTES = 4
_FORMAT = "6"  # another number for each change of what an entry means, so that no release misreads an entry
_MAC_BYTES = 16  # each guess costs a write to Redis and a request
_MAC_CHARACTERS = 22  # without padding
_to_json: Final[Callable[[Any], str]] = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_from_json: Final[Callable[[str], tuple[Any, int]]] = json.JSONDecoder().raw_decode


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
        return image.rendition is None or image.object_id.revision == self.signer.renditions.revision(image.rendition)

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
        if not self.signer.renditions.has(rendition) or not self.mac.matches(mac, self._message(variant, end, body)):
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
        rule = b"" if variant.rendition is None else self.signer.renditions.get(variant.rendition).template.encode()
        return b"%b\0%b\0%b %b" % (encode_variant(variant).encode(), rule, end, body)
