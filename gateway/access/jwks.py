"""The public keys of an identity provider (JWKS, RFC 7517), fetched in the background, never during a request."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import yarl

from gateway.access.caller import KeysUnknown
from gateway.access.metrics import AccessMetrics
from gateway.concurrency.background import background
from gateway.errors import DependencyDegraded, DependencyDown
from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable

logger = logging.getLogger(__name__)

_REFRESH = 600.0  # seconds between regular fetches
_MIN_INTERVAL = 60.0  # seconds between fetches for unknown kids, however many clients send
_RETRY = 15.0  # seconds after a failed fetch
_TIMEOUT = 5.0  # seconds
_MAX_BYTES = 256 * 1024
_ACCEPT = {"Accept": "application/jwk-set+json, application/json"}


class Jwks:
    """The public keys of an identity provider, by which users' tokens are verified, from the last successful fetch.

    ``changed`` is called when a fetch has other keys than before. A token cannot choose the algorithm of its key.
    """

    def __init__(self, algorithms: Sequence[str], changed: Callable[[], None] = lambda: None) -> None:
        self._algorithms = frozenset(algorithms)
        self._changed = changed
        self._usable_entries: Sequence[Any] = ()
        self._keys: list[jwt.PyJWK] = []
        self._is_known = False  # a key set has been fetched
        self.generation = 0
        self.missed = asyncio.Event()  # set once a token names an unknown key
        self.problem: str | None = None  # why the last fetch failed

    @property
    def is_empty(self) -> bool:
        """Whether no key verifies tokens: none has been fetched yet, or the provider publishes none."""
        return not self._keys

    async def probe(self) -> None:
        """Raise ``DependencyDown`` if the last fetch failed, or ``DependencyDegraded`` while keys of before verify."""
        if self.problem is not None:
            raise (DependencyDown if self.is_empty else DependencyDegraded)(self.problem)

    def key_for(self, token: str) -> jwt.PyJWK:
        """Return the key that the token names (RFC 7515 section 4.1.4), or else the only key of its algorithm.

        Raises ``KeysUnknown`` before the first key set, and the errors of PyJWT.
        """
        header = jwt.get_unverified_header(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in self._algorithms:
            raise jwt.InvalidAlgorithmError("the algorithm is not allowed")
        if not self._is_known:
            raise KeysUnknown("the keys of the identity provider are not known yet")
        candidates = [key for key in self._keys if key.algorithm_name == algorithm and kid in (None, key.key_id)]
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            self.missed.set()
        raise jwt.InvalidKeyError("the token names no published key")

    def replace(self, document: bytes) -> None:
        """Replace the keys by the usable ones of a JWKS document, if any. Raises ``ServiceUnavailable`` for another."""
        try:
            entries = json.loads(document)["keys"]
        except (ValueError, TypeError, KeyError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise ServiceUnavailable("the response is not a JWKS document")
        usable = [(entry, key) for entry in entries if (key := self._usable(entry)) is not None]
        self._is_known = True
        before = self._usable_entries
        self._usable_entries, self._keys = [entry for entry, _ in usable], [key for _, key in usable]
        if self._usable_entries != before:
            self.generation += 1
            self._changed()

    def _usable(self, entry: object) -> jwt.PyJWK | None:
        """Return the key of an entry, or None for a key that is not for signatures of these algorithms.

        A key that is published with its private part (``d``) is nobody's: everybody can sign with it.
        """
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct" or "d" in entry:
            return None
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
            return None
        return key if key.algorithm_name in self._algorithms else None


@asynccontextmanager
async def keep_fetching(
    keys: Jwks,
    url: str,
    metrics: AccessMetrics,
    *,
    refresh: float = _REFRESH,
    min_interval: float = _MIN_INTERVAL,
    retry: float = _RETRY,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[None]:
    """Fetch the keys at once, then every ``refresh`` seconds and, at most every ``min_interval``, for an unknown kid.

    While the provider is down, the last keys stay valid. The gateway also starts without any key. A failed fetch is
    repeated after ``retry`` seconds.
    """
    exact_url = str(yarl.URL(url))
    async with BoundedHttp(_TIMEOUT, _MAX_BYTES) as http:

        async def fetch() -> None:
            try:
                keys.replace(await http.get(exact_url, _ACCEPT))
                keys.problem = None
                if keys.is_empty:
                    keys.problem = "the identity provider publishes no key for access.jwt.algorithms: no token is valid"
                    logger.warning("%s", keys.problem)
            except ServiceUnavailable as error:
                keys.problem = f"the identity provider's keys cannot be fetched: {error}"
                logger.warning("%s", keys.problem)
            except Exception:  # the task must survive, or it would never fetch new keys
                keys.problem = "the fetch of the identity provider's keys failed: see the log"
                metrics.background_errors.labels(task="jwks").inc()
                logger.exception("the fetch of the identity provider's keys failed")

        async def fetch_repeatedly() -> None:
            while True:
                fetched_at = monotonic()
                keys.missed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(refresh if keys.problem is None else retry):
                        await keys.missed.wait()
                        # Tokens that name unknown keys only bring the next fetch forward; they never add one.
                        await asyncio.sleep(max(0.0, fetched_at + min_interval - monotonic()))
                await fetch()

        await fetch()
        async with background("jwks-fetch", fetch_repeatedly()):
            yield
