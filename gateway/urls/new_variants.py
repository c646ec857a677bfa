"""Bound on new variants: each is a charge at COS, and a client can ask for as many as there are ids."""

import logging

from gateway.catalog.record import ImageRecord
from gateway.concurrency.rate_limit import RateLimit
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant

logger = logging.getLogger(__name__)


class NewVariant(Exception):
    """Nothing is cached of the variant, and ``record`` is the row of its image: check access before it is made."""

    def __init__(self, record: ImageRecord) -> None:
        super().__init__(record.image_id)
        self.record = record


class NewVariants:
    """Admits ``per_minute`` variants a minute of which no URL is cached; fixed styles and originals are not bounded."""

    def __init__(self, renditions: Renditions, per_minute: int) -> None:
        self._renditions = renditions
        self._is_reached = False
        self.configure(per_minute)

    def configure(self, per_minute: int) -> None:
        """Admit so many a minute from now on; earlier admissions do not count."""
        self._limit = RateLimit(per_minute / 60, per_minute)

    def admit(self, variant: ImageVariant) -> bool:
        """Return whether the variant may be made; logs once when the bound is reached."""
        if variant.rendition is None or self._renditions.get(variant.rendition).width is None:
            return True
        is_admitted = self._limit.wait("every client") == 0
        if not is_admitted and not self._is_reached:
            logger.warning(
                "more new variants than image_variants.max_new_per_minute: originals are sent in their place"
            )
        self._is_reached = not is_admitted
        return is_admitted
