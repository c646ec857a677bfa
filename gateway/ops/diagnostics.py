"""Tries each dependency as the gateway would use it, and says what is wrong and how to mend it."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired, DependencyDown, GatewayError

_TOLERATED = 30  # seconds that the clocks may differ

# What COS says (COS document 7730), and what to do about it.
_COS_ADVICE = {
    "SignatureDoesNotMatch": "cos.secret_key does not belong to cos.secret_id",
    "InvalidAccessKeyId": "COS does not know cos.secret_id, or the temporary credentials have expired",
    "ExpiredToken": "the temporary credentials have expired: renew cos.token with its secret_id and secret_key",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: synchronize it (NTP)",
    "NoSuchBucket": "there is no such bucket in that region: look at cos.bucket and cos.region",
    "NoSuchKey": "the row of the table names an object that is not in the bucket: look at postgres.columns.key",
    "AccessDenied": "the credentials are valid but may not read: allow them GetObject on the bucket",
    "InvalidObjectState": "the object is archived; images must be in a storage class that can be read at once",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one try; ``advice`` is empty when all is well.

    ``is_warning``: the gateway works, but not as it should; ``is_well`` is then true.
    """

    name: str
    is_well: bool
    what: str
    advice: str = ""
    is_warning: bool = False


class Cache(Protocol):
    """Redis, as far as it is tried."""

    async def try_write(self) -> None:
        """Write and remove a key; raises ``DependencyDown``."""
        ...


class Catalog(Protocol):
    """Postgres, as far as it is tried."""

    async def any_image(self) -> ImageRecord | None:
        """Some servable image; raises ``CatalogUnavailable``."""
        ...

    async def try_links(self) -> None:
        """Return when the gateway's own table can be used; raises ``CatalogUnavailable`` that says why not."""
        ...


class Answer(Protocol):
    """COS's answer to a request for one byte."""

    @property
    def status(self) -> int:
        """Of HTTP."""
        ...

    @property
    def code(self) -> str | None:
        """The code in the body of an error; None if there is none."""
        ...

    @property
    def date(self) -> float | None:
        """COS's time in Unix seconds; None if the answer has none."""
        ...

    @property
    def clock(self) -> float | None:
        """COS's time if a wrong clock is why COS refused; None otherwise."""
        ...


class Origin(Protocol):
    """COS, as far as it is tried."""

    async def diagnose(self, url: str) -> Answer:
        """COS's answer to a URL; raises ``OriginUnavailable``."""
        ...


async def examine(
    cache: Cache | None,
    catalog: Catalog,
    origin: Origin,
    *,
    presign: Callable[[ImageRecord], str],
    probe: ImageRecord,
    signs_links: bool = False,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Finding]:
    """One finding for each dependency, in the order they are tried.

    COS is tried with an image of the table, or with ``probe`` when there is none; ``presign`` may raise
    ``CredentialsExpired``. ``cache`` None: it is turned off. ``signs_links``: the gateway needs a table of its own,
    too. ``now`` is this machine's clock, which is compared with COS's ``Date``.
    """
    if cache is None:
        yield Finding("redis", True, "turned off by url_cache.enabled")
    else:
        yield await _redis(cache)
    image, without = None, "there is no image to read yet"
    try:
        image = await catalog.any_image()
    except GatewayError as error:
        without = "no image could be asked for, since Postgres failed"
        yield Finding("postgres", False, str(error), "look at postgres.dsn, postgres.table and postgres.columns")
    else:
        what = "an image was read" if image is not None else "the table holds no active image that can be served"
        yield Finding("postgres", True, what)
        if signs_links:
            yield await _links(catalog)
    try:
        url = presign(image or probe)
    except CredentialsExpired as error:
        yield Finding("cos", False, str(error), _COS_ADVICE["ExpiredToken"] + ", and cos.token_expires_at")
    else:
        async for finding in _cos(origin, url, now, without="" if image is not None else without):
            yield finding


async def _redis(cache: Cache) -> Finding:
    try:
        await cache.try_write()
    except DependencyDown as error:
        return Finding("redis", False, str(error), "look at redis.url; the gateway must be allowed to write there")
    return Finding("redis", True, "a key was written")


async def _links(catalog: Catalog) -> Finding:
    try:
        await catalog.try_links()
    except GatewayError as error:
        advice = "run config/sql/links.sql and grant what it says: access.signed_links needs that table"
        return Finding("signed_links", False, str(error), advice)
    return Finding("signed_links", True, "the table of killed links can be read and written")


async def _cos(origin: Origin, url: str, now: Callable[[], float], *, without: str) -> AsyncIterator[Finding]:
    """One finding on COS and, if the clocks differ, one on the clock.

    ``without``: why the URL is of no image; empty when it is of one.
    """
    try:
        answer = await origin.diagnose(url)
    except GatewayError as error:
        advice = "look at cos.region, cos.bucket, cos.domain and cos.scheme, and at the way from here to the internet"
        yield Finding("cos", False, f"no answer: {error}", advice)
        return
    difference = answer.date - now() if answer.date is not None else 0.0
    clock = f"the clock of this machine is {abs(difference):.0f} s {'slow' if difference > 0 else 'fast'}"
    if answer.clock is not None and abs(difference) >= _TOLERATED:
        yield Finding("cos", False, f"COS refuses the time of the signature: {clock}", "synchronize it (NTP)")
        return
    yield _verdict(answer.status, answer.code, without)
    if abs(difference) >= _TOLERATED:
        yield Finding("clock", True, f"{clock} by COS's clock", "synchronize it (NTP)", is_warning=True)


def _verdict(status: int, code: str | None, without: str) -> Finding:
    if status in (200, 206):
        return Finding("cos", True, "the image's first byte was read")
    if code == "NoSuchKey" and without:
        return Finding("cos", True, f"the signature was accepted; {without}")
    what = f"COS answered {status}" + (f" {code}" if code is not None else "")
    return Finding("cos", False, what, _COS_ADVICE.get(code or "", "look the answer up in COS document 7730"))
