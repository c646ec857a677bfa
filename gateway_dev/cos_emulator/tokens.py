"""Temporary credentials that the metadata and STS services issue, known to the emulated COS until they end."""

import base64
import os
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway_dev.cos_emulator.access import Credential


@dataclass(frozen=True, slots=True)
class Issued:
    """A set of temporary credentials. ``expires_at`` in Unix seconds."""

    secret_id: str
    secret_key: str = field(repr=False)
    token: str = field(repr=False)
    expires_at: int

    @property
    def expiration(self) -> str:
        """The end as Tencent's services write it: UTC, in whole seconds."""
        return datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class TokenIssuer:
    """Issues credentials into ``credentials``, the mapping by which the emulated COS verifies requests.

    ``life``: the longest life in seconds, whatever a request asks for. ``now``: Unix seconds.
    """

    credentials: MutableMapping[str, Credential]
    life: int = 7200
    now: Callable[[], float] = time.time

    def issue(self, life: int | None = None) -> Issued:
        """Return new credentials of ``life`` seconds, at most ``self.life``. Those that have ended stay known: COS
        answers ExpiredToken for them."""
        expires_at = int(self.now()) + min(self.life, life if life is not None else self.life)
        # Real tokens hold / + and =, which are encoded in a URL.
        token = base64.b64encode(b"\xfb\xff\xbf" + os.urandom(96)).decode() + "=="
        issued = Issued(f"AKID{os.urandom(16).hex()}", os.urandom(16).hex(), token, expires_at)
        self.credentials[issued.secret_id] = Credential(issued.secret_key, issued.token, expires_at)
        return issued
