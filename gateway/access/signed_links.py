"""Signed links: addresses that show a single image to anyone, until they expire.

``?kid=K&exp=UNIX&sig=S``, where S is the base64url, without padding, of HMAC-SHA256 under key K over
``path + "\\n" + exp`` and, once the image's links have been killed n > 0 times, ``"\\n" + n``. The path is the path of
the request, byte for byte. Other parameters (``style``, ``download``, ``redirect``) are not signed: a caller who may
view the image may view it in any configured style and save it under any name.
"""

import base64
import hmac
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from multidict import MultiMapping

from gateway.settings import Live, SignedLinksSettings

_KID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_EXP = re.compile(r"[1-9][0-9]{0,11}")
_SIG = re.compile(r"[A-Za-z0-9_-]{43}")
PARAMETERS = ("kid", "exp", "sig")


class BadLink(Exception):
    """The parameters of a signed link of this gateway are not valid for any image."""


class LinkParameters(NamedTuple):
    """The key id, end and signature in a signed link's query. ``problem``: what is wrong in their form, or None."""

    kid: str = ""
    expires_at: int = 0
    signature: str = ""
    problem: str | None = None

    @classmethod
    def of(cls, query: MultiMapping[str]) -> "LinkParameters | None":
        """Return the link parameters of a request, or None without any."""
        given = [query.getall(name, []) for name in PARAMETERS]
        if not any(given):
            return None
        if any(len(values) != 1 for values in given):
            return cls(problem="a parameter is missing or repeated")
        kid, exp, sig = (values[0] for values in given)
        if not (_KID.fullmatch(kid) and _EXP.fullmatch(exp) and _SIG.fullmatch(sig)):
            return cls(problem="a parameter is malformed")
        return cls(kid, int(exp), sig)


class SignedLink(NamedTuple):
    """A signed link (URL of this gateway) that is well-formed and not expired. Its signature is verified later."""

    path: str
    expires_at: int
    signature: str
    key: bytes

    def __repr__(self) -> str:
        return f"SignedLink(path={self.path!r}, expires_at={self.expires_at})"  # the rest is secret

    def is_valid_for(self, links_killed: int | None) -> bool:
        """Return whether the signature includes this count of kills, compared in constant time. None: unknown."""
        if links_killed is None:
            return False
        return hmac.compare_digest(_signature(self.key, self.path, self.expires_at, links_killed), self.signature)


class SignedLinks:
    """Makes and verifies signed links: URLs of this gateway, not of COS. The first key signs; every key verifies."""

    def __init__(self, settings: Live[SignedLinksSettings], now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._keys = settings.map(
            lambda links: {kid: key.get_secret_value().encode() for kid, key in links.keys.items()}
        )

    def read(self, path: str, query: MultiMapping[str]) -> SignedLink | None:
        """Return the link of a request for ``path``, or None without link parameters. Raises ``BadLink``."""
        given = LinkParameters.of(query)
        return self.link(path, given, self._now()) if given is not None else None

    def link(self, path: str, given: LinkParameters, now: float) -> SignedLink:
        """Return the link to ``path`` with these parameters at ``now`` (Unix seconds). Raises ``BadLink``."""
        if given.problem is not None:
            raise BadLink(given.problem)
        key = self._keys.value.get(given.kid)
        if key is None:
            raise BadLink("the key is unknown")
        if given.expires_at <= now:
            raise BadLink("the link is expired")
        return SignedLink(path, given.expires_at, given.signature, key)

    def make(self, path: str, *, expires_in: int, links_killed: int | None) -> tuple[str, int]:
        """Return a link to ``path`` that expires in ``expires_in`` seconds, and its expiry in Unix seconds."""
        # None (unknown) is signed as 0: if links were killed before, the new link is not valid either.
        expires_at = int(self._now()) + expires_in
        kid, key = next(iter(self._keys.value.items()))
        signature = _signature(key, path, expires_at, links_killed)
        return f"{path}?kid={kid}&exp={expires_at}&sig={signature}", expires_at


def short_address(image_id: str) -> str:
    """Return the path of the image's short address, which its links sign. Ids need no percent-encoding."""
    return f"/i/{image_id}"


# Pages request the images of their links again and again. What is remembered is the right signature of a path, a time
# and a count of kills: with another key or after a kill another one is right, and each comparison takes constant time.
@lru_cache(maxsize=4096)
def _signature(key: bytes, path: str, expires_at: int, links_killed: int | None) -> str:
    signed = f"{path}\n{expires_at}" + (f"\n{links_killed}" if links_killed else "")
    # No image has a path that is not UTF-8, but such a path must not raise.
    digest = hmac.digest(key, signed.encode(errors="surrogateescape"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
