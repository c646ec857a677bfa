"""Temporary errors: 503 with Retry-After."""

from collections.abc import Mapping
from typing import ClassVar

from gateway.errors.base import GatewayError, retry_after_field


class Unavailable(GatewayError):
    """A temporary error: the same request may succeed after ``retry_after`` seconds."""

    status = 503
    code = "unavailable"
    message = "try again later"
    retry_after: ClassVar[int] = 1

    @property
    def headers(self) -> Mapping[str, str]:
        """Retry-After in whole seconds (RFC 9110 section 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class Overloaded(Unavailable):
    """``server.max_streams`` images are already in flight."""

    code = "overloaded"
    message = "too many images are being sent, try again in a moment"


class OriginThrottled(Unavailable):
    """COS responded 503 SlowDown, even after the retries.

    ``wait``: COS's Retry-After in seconds, None if COS sent none.
    """

    code = "origin_throttled"
    message = "the image store asks to slow down, try again in a moment"
    retry_after = 2

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self._wait = wait

    @property
    def headers(self) -> Mapping[str, str]:
        """COS's Retry-After, at least 1 and at most 60 seconds."""
        return {"Retry-After": retry_after_field(self.retry_after if self._wait is None else self._wait)}


class OriginPaused(Unavailable):
    """Requests to the bucket are paused, because many of its objects failed in a row."""

    code = "origin_paused"
    message = "the image store does not respond, try again in a moment"
    retry_after = 2


class CatalogUnavailable(Unavailable):
    """Postgres did not respond, and the image is not cached."""

    code = "catalog_unavailable"
    message = "the image catalog does not respond, try again in a moment"
    retry_after = 2


class RedisUnavailable(Unavailable):
    """Redis does not respond to a request about Redis itself."""

    code = "cache_unavailable"
    message = "redis does not respond, try again in a moment"


class TooManyVariants(Unavailable):
    """Clients requested more new variants than ``image_variants.max_new_per_minute``."""

    code = "too_many_variants"
    message = "too many new variants are being made, try again in a moment"
    retry_after = 10


class NoWorker(Unavailable):
    """None of the workers answers a request on the admin port of their parent."""

    code = "no_worker"
    message = "no worker answers, try again in a moment"


class CredentialsExpired(Unavailable):
    """The temporary COS credentials have expired by the clock or by COS's answer, so no usable URL can be signed."""

    code = "credentials_expired"
    message = "the image store cannot be reached with the current credentials"
    retry_after = 30


class NoCredentials(CredentialsExpired):
    """The source of credentials has no valid credentials now. A refresh is running."""
