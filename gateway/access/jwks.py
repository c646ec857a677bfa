"""The public keys that an identity provider publishes (JWKS, RFC 7517), fetched beside requests, never on their way.

The one place outside of ``gateway.origin`` with an HTTP client: it talks to the identity provider and to nobody else.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import aiohttp
import jwt

from gateway.metrics.collectors import Metrics

logger = logging.getLogger(__name__)

_REFRESH = 600.0  # seconds between fetches when nothing asks for one
_LEAST_PAUSE = 60.0  # an unknown kid costs the provider one request a minute, whatever clients send
_RETRY = 15.0
_TIMEOUT = 5.0
_LARGEST = 256 * 1024


class JwksUnavailable(Exception):
    """The provider did not answer, or with something that holds no key of ours."""


class Jwks:
    """The keys of the last fetch that brought any. Each is bound to its own algorithm: a token cannot choose."""

    def __init__(self, algorithms: Sequence[str]) -> None:
        self._algorithms = frozenset(algorithms)
        self._keys: list[jwt.PyJWK] = []
        self.missed = asyncio.Event()  # set when a token named a key that is not here

    def key_for(self, token: str) -> jwt.PyJWK:
        """The key that the token names, or the only one of its algorithm if it names none (RFC 7515 section 4.1.4)."""
        header = jwt.get_unverified_header(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if algorithm not in self._algorithms:
            raise jwt.InvalidAlgorithmError("the algorithm is not allowed")
        fitting = [key for key in self._keys if key.algorithm_name == algorithm and kid in (None, key.key_id)]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            self.missed.set()
        raise jwt.InvalidKeyError("the token names no key that is published")

    def replace(self, document: bytes) -> None:
        """Take the keys of a JWKS document in place of those there; raises ``JwksUnavailable`` if it has none."""
        try:
            entries = json.loads(document)["keys"]
            keys = [key for entry in entries if (key := self._usable(entry)) is not None]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise JwksUnavailable("the answer is no JWKS document") from None
        if not keys:
            raise JwksUnavailable("the document holds no key for these algorithms")
        self._keys = keys

    def _usable(self, entry: object) -> jwt.PyJWK | None:
        """The key of an entry; None for one that is for something else. A provider may publish such, too."""
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
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
    metrics: Metrics,
    *,
    refresh: float = _REFRESH,
    least_pause: float = _LEAST_PAUSE,
    retry: float = _RETRY,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[None]:
    """Fetch the keys once, then again every ``refresh`` seconds and, at most every ``least_pause``, for an unknown kid.

    What was fetched is kept for as long as the provider is away; the gateway also starts without it, and tries again
    every ``retry`` seconds.
    """
    is_up = metrics.dependency_up.labels(dependency="jwks")
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        headers={"User-Agent": "image-gateway", "Accept": "application/jwk-set+json, application/json"},
        trust_env=False,
    ) as session:

        async def fetch() -> bool:
            try:
                keys.replace(await _document(session, url))
            except JwksUnavailable as error:
                is_up.set(0)
                logger.warning("the identity provider's keys cannot be fetched: %s", error)
                return False
            except Exception:  # or no key that the provider publishes from now on would ever be known
                is_up.set(0)
                metrics.background_errors.labels(task="jwks").inc()
                logger.exception("the fetch of the identity provider's keys failed")
                return False
            is_up.set(1)
            return True

        async def fetch_on(fetched: bool) -> None:
            while True:
                fetched_at = monotonic()
                keys.missed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(refresh if fetched else retry):
                        await keys.missed.wait()
                        # Whoever asks for keys that do not exist only ever brings the next fetch nearer, never two.
                        await asyncio.sleep(max(0.0, fetched_at + least_pause - monotonic()))
                fetched = await fetch()

        task = asyncio.create_task(fetch_on(await fetch()), name="jwks-fetch")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _document(session: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise JwksUnavailable(f"status {response.status}")
            document = bytearray()
            async for piece in response.content.iter_any():
                document += piece
                if len(document) > _LARGEST:
                    raise JwksUnavailable(f"more than {_LARGEST} bytes")
            return bytes(document)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise JwksUnavailable(type(error).__name__) from error
