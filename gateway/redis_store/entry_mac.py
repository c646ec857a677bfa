"""What tells the gateway's own entries in Redis from those that somebody else wrote there."""

import hmac

_PURPOSE = b"image-gateway: entries of the URL cache"
_DIGITS = 32  # 128 bits: nobody can try at leisure, each try is a look into Redis


class EntryMac:
    """A keyed digest in each entry, by a key made of the secret that signs URLs: every replica has the same.

    Redis says who owns an image and whether everybody may see it. With a seal, whoever can write there can at most put
    back what the gateways themselves wrote about that image before.
    """

    def __init__(self, secret_key: str) -> None:
        self._key = hmac.digest(secret_key.encode(), _PURPOSE, "sha256")

    def sign(self, entry: bytes) -> bytes:
        """``entry``, which begins with its end and a space, with the digest after them."""
        end, _, rest = entry.partition(b" ")
        return b"%b %b %b" % (end, self._digest(entry), rest)

    def take_off(self, sealed: bytes) -> bytes:
        """The entry; raises ``ValueError`` when it is not as a gateway wrote it."""
        end, _, rest = sealed.partition(b" ")
        digest, _, rest = rest.partition(b" ")
        entry = b"%b %b" % (end, rest)
        if not hmac.compare_digest(digest, self._digest(entry)):
            raise ValueError("not sealed by a gateway with this secret")
        return entry

    def _digest(self, entry: bytes) -> bytes:
        return hmac.digest(self._key, entry, "sha256").hex()[:_DIGITS].encode()
