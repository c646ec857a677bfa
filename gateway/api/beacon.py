"""Beacon: the report of a page about its loads of images. It has counts only: no ids and no addresses."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.api.beacon_metrics import (
    LOAD_SECONDS,
    PAINT_SECONDS,
    PICTURE_BYTES,
    BeaconMetrics,
    BytesSource,
    FailureKind,
    KnownSource,
    LoadResult,
)
from gateway.errors import InvalidBeacon

# A page sends a beacon every minute, so each count is far above what a page can see. They bound what one
# request can add to the metrics.
MAX_LOADS = 10_000
MAX_RETRIES = 100_000
MAX_ATTEMPTS = 200_000
MAX_SECONDS = 3600  # of one load, or until a paint
MAX_BYTES = 100_000_000  # of one picture

_Loads = Annotated[int, Field(ge=0, le=MAX_LOADS)]
_Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES)]


class _Part(BaseModel):
    """``strict`` refuses ``true`` and ``"1"`` as numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Histogram(_Part):
    """Observations counted by bucket. ``most``: the largest observation that is believed."""

    most: ClassVar[float]

    buckets: list[_Loads]
    sum: Annotated[float, Field(ge=0, allow_inf_nan=False, description="of all observations")]
    count: Annotated[_Loads, Field(description="of the observations in all buckets")]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if sum(self.buckets) != self.count or self.sum > self.count * self.most:
            raise ValueError("buckets, sum and count contradict each other")
        return self


def _buckets(bounds: Sequence[float], what: str) -> Any:
    """Return the field for the counts between ``bounds``, and one above them."""
    number, text = len(bounds) + 1, ", ".join(map(str, bounds))
    return Field(min_length=number, max_length=number, description=f"{what} at most {text} and more, each once")


class LoadTimes(_Histogram):
    """A histogram of load times in seconds."""

    most = MAX_SECONDS
    buckets: Annotated[list[_Loads], _buckets(LOAD_SECONDS, "loads that took")]


class PaintTimes(_Histogram):
    """A histogram of the times of largest contentful paints in seconds."""

    most = MAX_SECONDS
    buckets: Annotated[list[_Loads], _buckets(PAINT_SECONDS, "paints after")]


class PictureSizes(_Histogram):
    """A histogram of the bytes of pictures, as they are transferred."""

    most = MAX_BYTES
    buckets: Annotated[list[_Loads], _buckets(PICTURE_BYTES, "pictures of")]


class Beacon(_Part):
    """A report. What is left out counts as zero."""

    version: Annotated[int, Field(ge=1, le=1)]  # not Literal[1], which accepts true
    loads: Annotated[dict[LoadResult, _Loads], Field(description="loads by their result")] = {}
    retries: Annotated[dict[FailureKind, _Retries], Field(description="attempts that failed, by the reason")] = {}
    sources: Annotated[dict[BytesSource, _Loads], Field(description="loads by where the bytes came from")] = {}
    attempts: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS, description="attempts of all loads")] = 0
    seconds: Annotated[LoadTimes | None, Field(description="how long the loads took")] = None
    paints: Annotated[
        dict[BytesSource, PaintTimes],
        Field(description="the largest contentful paint of the page, if it is one of the pictures, by their source"),
    ] = {}
    sizes: Annotated[dict[KnownSource, PictureSizes], Field(description="bytes of the pictures, by their source")] = {}

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        loads = sum(self.loads.values())
        timed = self.seconds.count if self.seconds is not None else 0
        if loads > MAX_LOADS or sum(self.retries.values()) > MAX_RETRIES:
            raise ValueError("too many loads or retries")
        sized = sum(histogram.count for histogram in self.sizes.values())
        if max(timed, sized, sum(self.sources.values())) > loads:
            raise ValueError("more load times, sizes or sources than loads")
        if sum(histogram.count for histogram in self.paints.values()) > 1:
            raise ValueError("a page has one largest paint")
        return self

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the beacon in ``body``. Raises ``InvalidBeacon``."""
        try:
            return cls.model_validate_json(body)
        except ValidationError:
            # Its text quotes the body.
            raise InvalidBeacon from None

    def count_in(self, metrics: BeaconMetrics) -> None:
        """Add the counts to the metrics."""
        counters: tuple[tuple[Any, dict[Any, int]], ...] = (
            (metrics.client_loads, self.loads),
            (metrics.client_retries, self.retries),
            (metrics.client_sources, self.sources),
        )
        for counter, counts in counters:
            for label, amount in counts.items():
                counter.add((label,), amount)
        metrics.client_attempts.add(amount=self.attempts)
        if self.seconds is not None:
            metrics.client_load_seconds.merge(self.seconds.buckets, self.seconds.sum)
        for source, paints in self.paints.items():
            metrics.client_paint_seconds.merge(paints.buckets, paints.sum, source)
        for source, sizes in self.sizes.items():
            metrics.client_picture_bytes.merge(sizes.buckets, sizes.sum, source)
