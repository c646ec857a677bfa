"""Bound on new variants: each is a charge at COS, and a client can ask for as many as there are ids."""

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.catalog.record import ImageRecord
from gateway.concurrency.rate_limit import RateLimit
from gateway.presign.style_variants import ImageVariant, Renditions
from gateway.settings import Live

logger = logging.getLogger(__name__)

_SHARES: Final = 4  # clients that together use up the whole
_LEAST_SHARE: Final = 2
_KEPT: Final = 4  # a quarter of the whole is kept for clients that ask for little: an eighth of their share
_LITTLE: Final = 8
_LOG_INTERVAL: Final = 60.0  # seconds; clients decide how often the bound is reached


class NewVariant(NamedTuple):
    """No URL is cached of a requested variant. ``record``: its image's row, to check access before a URL is made."""

    record: ImageRecord


class NewVariants:
    """Limits requests for variants of which no URL is cached to ``per_minute``, and a client to a quarter of them.

    When the bound is small, a client gets two. Another quarter is kept for the first few of each client, so that four
    clients cannot use up everyone's. Fixed styles and originals are not bounded. ``now`` is in seconds.
    """

    def __init__(
        self, renditions: Live[Renditions], per_minute: Live[int], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._renditions = renditions
        self._now = now
        self._logged_at = float("-inf")
        self._start(per_minute.value)
        per_minute.watch(lambda old, new: self._start(new) if old != new else None)

    def _start(self, per_minute: int) -> None:
        """Admit ``per_minute`` variants a minute from now on. Earlier admissions do not count."""
        share = max(_LEAST_SHARE, per_minute // _SHARES)
        self._by_client = RateLimit(share / 60, share, now=self._now)
        kept, little = per_minute // _KEPT, max(1, share // _LITTLE)
        self._little = RateLimit(little / 60, little, now=self._now)
        self._by_all = RateLimit((per_minute - kept) / 60, per_minute - kept, now=self._now)
        self._kept = RateLimit(kept / 60, kept, now=self._now) if kept else None

    def admit(self, variant: ImageVariant, client: str) -> bool:
        """Return whether the variant may be made for ``client``. Log a refusal at most once a minute."""
        if variant.rendition is None or self._renditions.value.get(variant.rendition).width is None:
            return True
        # In this order, a client beyond its share takes nothing of the others'.
        if self._by_client.wait(client) > 0:
            self._log(client or "without an address")
            return False
        asks_for_little = self._little.wait(client) == 0
        if self._by_all.wait("") == 0 or (asks_for_little and self._kept is not None and self._kept.wait("") == 0):
            return True
        self._log("every")
        return False

    def _log(self, client: str) -> None:
        if (now := self._now()) - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            logger.warning(
                "more new variants than image_variants.max_new_per_minute allows, originals are sent in their place: "
                "client=%s",
                client,
            )
