"""Signed links: an address that opens one image to whoever has it, until a time.

``?kid=K&exp=UNIX&sig=S``, where S is the base64url, without padding, of HMAC-SHA256 under key K over
``path + "\\n" + exp`` and, once the image's links have been killed n > 0 times, ``"\\n" + n``. The path is that of the
request, byte for byte. Other parameters (``style``, ``download``, ``redirect``) are not signed: whoever may see the
image may see it in any of the configured styles and save it under any name.
"""

import base64
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.settings import SignedLinksSettings

_KID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_EXP = re.compile(r"[1-9][0-9]{0,11}")
_SIG = re.compile(r"[A-Za-z0-9_-]{43}")
PARAMETERS = ("kid", "exp", "sig")


class BadLink(Exception):
    """The link parameters open nothing, whatever the image."""


class Parameters(Protocol):
    """The query of a request, repetitions included."""

    def getall(self, key: str, default: list[str]) -> list[str]:
        """Every value of a parameter."""
        ...


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link that is well formed and not over. Whether it is genuine is known only beside its image."""

    path: str
    expires_at: int
    signature: str
    key: bytes

    def __repr__(self) -> str:
        return f"SignedLink(path={self.path!r}, expires_at={self.expires_at})"  # the rest opens doors

    def opens(self, links_killed: int | None) -> bool:
        """Whether it was signed for an image whose links have been killed that often; constant-time.

        None, which is not known, opens nothing.
        """
        if links_killed is None:
            return False
        return hmac.compare_digest(_signature(self.key, self.path, self.expires_at, links_killed), self.signature)


class SignedLinks:
    """Reads and makes links. The first key signs, each verifies."""

    def __init__(self, settings: SignedLinksSettings, now: Callable[[], float] = time.time) -> None:
        self._keys = {kid: key.get_secret_value().encode() for kid, key in settings.keys.items()}
        self._signing_kid = next(iter(self._keys))
        self._now = now

    def read(self, path: str, query: Parameters) -> SignedLink | None:
        """The link of a request for ``path``; None when it shows none. Raises ``BadLink``."""
        shown = [query.getall(name, []) for name in PARAMETERS]
        if not any(shown):
            return None
        if any(len(values) != 1 for values in shown):
            raise BadLink("a parameter is missing or repeated")
        kid, exp, sig = (values[0] for values in shown)
        if not (_KID.fullmatch(kid) and _EXP.fullmatch(exp) and _SIG.fullmatch(sig)):
            raise BadLink("a parameter is malformed")
        if kid not in self._keys:
            raise BadLink("the key is unknown")
        if int(exp) <= self._now():
            raise BadLink("the link is over")
        return SignedLink(path, int(exp), sig, self._keys[kid])

    def make(self, path: str, *, expires_in: int, links_killed: int | None) -> tuple[str, int]:
        """The address that opens ``path`` for ``expires_in`` seconds, and when it ends, in Unix seconds."""
        # None, which is not known, is made as 0 is: should there have been kills, such a link is one of the dead.
        expires_at = int(self._now()) + expires_in
        signature = _signature(self._keys[self._signing_kid], path, expires_at, links_killed)
        return f"{path}?kid={self._signing_kid}&exp={expires_at}&sig={signature}", expires_at


def _signature(key: bytes, path: str, expires_at: int, links_killed: int | None) -> str:
    signed = f"{path}\n{expires_at}" + (f"\n{links_killed}" if links_killed else "")
    # A path that is no UTF-8 is nobody's, but it must not be a crash.
    digest = hmac.digest(key, signed.encode(errors="surrogateescape"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
