"""The life of a presigned URL by COS's clock: how long it may be used, and when it is renewed."""

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired
from gateway.presign.signer import BACKDATE, PresignedUrl, SignedImage, Signer
from gateway.settings import Live, UrlCacheSettings, UrlPrerefreshSettings

logger = logging.getLogger(__name__)

# Seconds that this machine's clock may differ from COS's: signatures begin a minute early, so that COS refuses no URL
# for less. COS's own SDKs correct the clock from here on, too.
CLOCK_TOLERANCE: Final = 30
_MAX_OFFSET: Final = 24 * 3600  # seconds; a larger one is taken for an error
# Seconds between two warnings: if one of several servers has a wrong clock, the result changes with each answer.
_WARN_EVERY: Final = 600
# How far the clocks of replicas, of COS and of this machine may be apart, in seconds.
CLOCK_SKEW = 5
_SPREAD = 0.1
_HOTTEST = 16  # a URL used 2**16 times or more counts as equally hot


@dataclass(slots=True, eq=False)
class CosClock:
    """Tells COS's time: this machine's, until COS refuses a URL and its ``Date`` is 30 seconds or more away.

    From then on it follows COS, so that URLs are valid again and match those of replicas whose clocks are right. A
    request for a role that Tencent's STS refuses for its time corrects it, too. ``moved`` is called afterwards.
    """

    local: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    offset: float = 0.0
    observed_offset: float = 0.0
    moved: Callable[[], None] = lambda: None
    _warned_at: float = float("-inf")

    def now(self) -> float:
        """Return Unix seconds."""
        return self.local() + self.offset

    def ahead(self) -> float:
        """Return how many seconds the clock that is ahead, this one or COS's, differs from this machine's."""
        return max(self.offset, self.observed_offset)

    def observe(self, cos_time: float | None) -> None:
        """Note the time of an answer of COS. ``now`` stays: only a refused URL proves that the clock is wrong."""
        if cos_time is None:
            return
        was_off, offset = abs(self.observed_offset) >= CLOCK_TOLERANCE, cos_time - self.local()
        self.observed_offset = offset if abs(offset) <= _MAX_OFFSET else 0.0
        if was_off or abs(offset) < CLOCK_TOLERANCE or self.monotonic() - self._warned_at < _WARN_EVERY:
            return
        self._warned_at = self.monotonic()
        how = "slow" if offset > 0 else "fast"
        logger.warning("the clock of this machine is %d s %s by that of COS, synchronize it (NTP)", abs(offset), how)

    def refused_at(self, cos_time: float | None) -> bool:
        """Set the clock after COS refused a URL at ``cos_time`` (None: no readable ``Date``). Return if it moved."""
        if cos_time is None or abs(cos_time - self.now()) < CLOCK_TOLERANCE:
            return False
        offset = cos_time - self.local()
        if abs(offset) > _MAX_OFFSET:
            logger.warning("the time that COS answered is off by %+d s, which is ignored", offset)
            return False
        self.offset = offset if abs(offset) >= CLOCK_TOLERANCE else 0.0
        self.observed_offset = offset
        logger.warning("the clock of this machine and that of COS differ, synchronize it (NTP): %+d s", offset)
        self.moved()
        return True


@dataclass(slots=True, eq=False)
class Lifetime:
    """Decides how long presigned URLs may be used, and when their renewal is due. Durations are in seconds.

    A URL is not used in its last ``min_remaining`` seconds, and is renewed in its last ``threshold`` seconds. If a
    token ends it sooner, both are shorter in proportion, but the former not below the difference of clocks.
    """

    url_cache: Live[UrlCacheSettings]
    prerefresh: Live[UrlPrerefreshSettings]
    random: Callable[[], float] = random.random

    @property
    def ttl(self) -> int:
        """The life for which a URL is signed."""
        return self.url_cache.value.default_ttl

    def margin(self, presigned: PresignedUrl) -> int:
        """Return the seconds of validity that the URL must have left to be used."""
        settings, life = self.url_cache.value, presigned.expires_at - presigned.signed_at
        if life >= settings.default_ttl:
            return settings.min_remaining
        return max(min(settings.min_remaining, CLOCK_SKEW), settings.min_remaining * life // settings.default_ttl)

    def lease(self, lease: float, token_life: float | None) -> float:
        """Return how long a worker claims renewals: less with short tokens, so those of a dead one are soon due."""
        if token_life is None or token_life >= self.ttl:
            return lease
        return min(lease, max(1.0, self._threshold(token_life) / 3))

    def usable_for(self, presigned: PresignedUrl, now: float) -> float:
        """Return the seconds for which the URL may still be used. Zero or less: the URL must not be used any more."""
        return presigned.expires_at - self.margin(presigned) - now

    def is_usable(self, presigned: PresignedUrl, now: float) -> bool:
        """Return whether the URL may be used at ``now``: not before it begins, if a clock that ran ahead signed it."""
        return presigned.signed_at - BACKDATE <= now <= presigned.expires_at - self.margin(presigned)

    def latest_end(self, now: float) -> int:
        """Return the latest end of a URL signed by ``now``. Only a clock that ran ahead gives a URL a later end."""
        return math.ceil(now) + BACKDATE + self.ttl

    def fresh_until(self, expires_at: int | None, now: float) -> float:
        """Return the earliest time at which a URL with that end may be due for renewal. Until that time it is fresh.

        Without a URL, or for an end that no URL signed by ``now`` has, the renewal is due ``now``.
        """
        if expires_at is None or expires_at > self.latest_end(now):
            return now
        return expires_at - min(self.prerefresh.value.threshold, self.ttl) - 2 * _SPREAD * self.ttl

    def due_at(self, presigned: PresignedUrl, hits: float = 0) -> float:
        """Return when to renew, in Unix seconds: ``threshold`` before the end, or earlier.

        The time is earlier by up to a tenth of the life at random, so that a batch signed together is not due together.
        It is earlier by up to another tenth by ``hits``, so that the most used URLs come first if renewals run late.
        """
        life = presigned.expires_at - presigned.signed_at
        hotness = min(1.0, math.log2(1 + hits) / _HOTTEST)
        due = presigned.expires_at - self._threshold(life) - _SPREAD * (self.random() + hotness) * life
        return max(float(presigned.signed_at), due)

    def _threshold(self, life: float) -> float:
        threshold, ttl = self.prerefresh.value.threshold, self.ttl
        return min(threshold, life) if life >= ttl else threshold * life / ttl


@dataclass(frozen=True, slots=True)
class CheckedSigner:
    """Makes presigned URLs of COS, and checks by COS's clock ``now`` whether a URL lives long enough to be used."""

    signer: Signer
    lifetime: Lifetime
    now: Callable[[], float] = time.time

    def sign(self, record: ImageRecord, rendition: str | None, read_at: int, *, fresh: bool = False) -> SignedImage:
        """Return the image with a URL that may be used. Raises ``CredentialsExpired``."""
        image = self.signer.sign_image(record, rendition, read_at=read_at, fresh=fresh)
        if not self.may_be_used(image):
            raise CredentialsExpired(f"the security token ends at {image.presigned.expires_at}")
        return image

    def sign_for_head(self, image: SignedImage) -> PresignedUrl:
        """Return the image's URL for HEAD, which COS refuses on a URL signed for GET."""
        return self.signer.sign(image.record, image.rendition, method="HEAD")

    def may_be_used(self, image: SignedImage) -> bool:
        return self.lifetime.is_usable(image.presigned, self.now())

    def usable_for(self, image: SignedImage) -> float:
        """Return the seconds for which the image's URL may be used. Zero or less: it must not be used any more."""
        return self.lifetime.usable_for(image.presigned, self.now())
