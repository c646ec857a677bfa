"""Tries each dependency the way the gateway uses it, and reports failures with advice."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired, DependencyDown, GatewayError
from gateway.ops.cos_advice import ADVICE, CLOCK, NO_ANSWER, advice_for

_CLOCK_TOLERANCE = 30  # seconds that this machine's clock may differ from COS's


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one try; ``advice`` is empty when nothing is to be done.

    ``is_warning``: the gateway works, but not as well as it should; ``is_well`` is then true.
    """

    name: str
    is_well: bool
    what: str
    advice: str = ""
    is_warning: bool = False


class Cache(Protocol):
    """The part of the Redis client that a diagnosis uses."""

    async def try_write(self) -> None:
        """Write and remove a key; raises ``DependencyDown``."""
        ...


class Catalog(Protocol):
    """The part of the Postgres catalog that a diagnosis uses."""

    async def any_image(self) -> ImageRecord | None:
        """Return any servable image, None if there is none; raises ``CatalogUnavailable``."""
        ...

    async def try_links(self) -> None:
        """Return if the gateway's own table can be used; raises ``CatalogUnavailable`` with the reason."""
        ...


class Answer(Protocol):
    """COS's answer to a request for one byte."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def code(self) -> str | None:
        """Code in the body of an error; None if there is none."""
        ...

    @property
    def date(self) -> float | None:
        """COS's time in Unix seconds; None if the answer has none."""
        ...

    @property
    def clock(self) -> float | None:
        """COS's time in Unix seconds if COS refused because of the clock; None otherwise."""
        ...


class Origin(Protocol):
    """The part of the COS client that a diagnosis uses."""

    async def diagnose(self, url: str) -> Answer:
        """Return COS's answer to a presigned URL; raises ``OriginUnavailable``."""
        ...


async def diagnose(
    cache: Cache | None,
    catalog: Catalog,
    origin: Origin,
    *,
    presign: Callable[[ImageRecord], str],
    bucket: str,
    region: str,
    signs_links: bool = False,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Finding]:
    """Yield findings on Redis, Postgres and COS, in this order.

    COS is asked for an image of the table, or for a made-up key of ``bucket`` if the table has none. ``presign`` may
    raise ``CredentialsExpired``. ``cache`` is None when the cache is turned off. ``signs_links``: the gateway's own
    table is tried, too. ``now`` is this machine's clock in Unix seconds; it is compared with COS's ``Date``.
    """
    if cache is None:
        yield Finding("redis", True, "turned off by url_cache.enabled")
    else:
        yield await _diagnose_redis(cache)
    image, no_image_reason = None, "there is no image to read yet"
    try:
        image = await catalog.any_image()
    except GatewayError as error:
        no_image_reason = "no image was read, since Postgres failed"
        yield Finding("postgres", False, str(error), "check postgres.dsn, postgres.table and postgres.columns")
    else:
        what = "an image was read" if image is not None else "the table holds no active image that can be served"
        yield Finding("postgres", True, what)
        if signs_links:
            yield await _diagnose_links(catalog)
    unknown_object = ImageRecord("check", None, False, bucket, region, key="check", content_type=None)
    try:
        url = presign(image or unknown_object)
    except CredentialsExpired as error:
        yield Finding("cos", False, str(error), ADVICE["ExpiredToken"] + ", and cos.token_expires_at")
    else:
        async for finding in _diagnose_cos(origin, url, now, None if image is not None else no_image_reason):
            yield finding


async def _diagnose_redis(cache: Cache) -> Finding:
    try:
        await cache.try_write()
    except DependencyDown as error:
        return Finding("redis", False, str(error), "check redis.url; the gateway must be allowed to write there")
    return Finding("redis", True, "a key was written")


async def _diagnose_links(catalog: Catalog) -> Finding:
    try:
        await catalog.try_links()
    except GatewayError as error:
        advice = "run config/sql/links.sql and grant what it lists: access.signed_links needs that table"
        return Finding("signed_links", False, str(error), advice)
    return Finding("signed_links", True, "the table of killed links can be read and written")


async def _diagnose_cos(
    origin: Origin, url: str, now: Callable[[], float], no_image_reason: str | None
) -> AsyncIterator[Finding]:
    """Yield a finding on COS and, if the clocks differ, one on the clock.

    ``no_image_reason``: why ``url`` names a made-up object; None if it names an image.
    """
    try:
        answer = await origin.diagnose(url)
    except GatewayError as error:
        yield Finding("cos", False, f"no answer: {error}", NO_ANSWER)
        return
    difference = answer.date - now() if answer.date is not None else 0.0
    clock = f"the clock of this machine is {abs(difference):.0f} s {'slow' if difference > 0 else 'fast'}"
    if answer.clock is not None and abs(difference) >= _CLOCK_TOLERANCE:
        yield Finding("cos", False, f"COS refuses the time of the signature: {clock}", CLOCK)
        return
    yield _verdict(answer.status, answer.code, no_image_reason)
    if abs(difference) >= _CLOCK_TOLERANCE:
        yield Finding("clock", True, f"{clock} by COS's clock", CLOCK, is_warning=True)


def _verdict(status: int, code: str | None, no_image_reason: str | None) -> Finding:
    if status in (200, 206):
        return Finding("cos", True, "the image's first byte was read")
    if code == "NoSuchKey" and no_image_reason is not None:
        return Finding("cos", True, f"the signature was accepted; {no_image_reason}")
    what = f"COS answered {status}" + (f" {code}" if code is not None else "")
    return Finding("cos", False, what, advice_for(code))
