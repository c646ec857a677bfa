"""Beacon: the report of a page about its loads of images. It has counts only: no ids and no addresses."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.api.beacon_metrics import LOAD_SECONDS, BeaconMetrics, BytesSource, FailureKind, LoadResult
from gateway.errors import InvalidBeacon

# A page sends a beacon every minute, so each count is far above what a page can see. They bound what one
# request can add to the metrics.
MAX_LOADS = 10_000
MAX_RETRIES = 100_000
MAX_ATTEMPTS = 200_000
MAX_SECONDS = 3600  # of one load

_Loads = Annotated[int, Field(ge=0, le=MAX_LOADS)]
_Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES)]


class _Part(BaseModel):
    """``strict`` refuses ``true`` and ``"1"`` as numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LoadTimes(_Part):
    """A histogram of load times."""

    buckets: Annotated[
        list[_Loads],
        Field(
            min_length=len(LOAD_SECONDS) + 1,
            max_length=len(LOAD_SECONDS) + 1,
            description=f"loads of at most {', '.join(map(str, LOAD_SECONDS))} and more seconds, each load once",
        ),
    ]
    sum: Annotated[
        float, Field(ge=0, le=MAX_LOADS * MAX_SECONDS, allow_inf_nan=False, description="of all loads, in seconds")
    ]
    count: Annotated[_Loads, Field(description="of the loads in all buckets")]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if sum(self.buckets) != self.count or self.sum > self.count * MAX_SECONDS:
            raise ValueError("buckets, sum and count contradict each other")
        return self


class Beacon(_Part):
    """A report. What is left out counts as zero."""

    version: Annotated[int, Field(ge=1, le=1)]  # not Literal[1], which accepts true
    loads: Annotated[dict[LoadResult, _Loads], Field(description="loads by their result")] = {}
    retries: Annotated[dict[FailureKind, _Retries], Field(description="attempts that failed, by the reason")] = {}
    sources: Annotated[dict[BytesSource, _Loads], Field(description="loads by where the bytes came from")] = {}
    attempts: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS, description="attempts of all loads")] = 0
    seconds: Annotated[LoadTimes | None, Field(description="how long the loads took")] = None

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        loads = sum(self.loads.values())
        timed = self.seconds.count if self.seconds is not None else 0
        if loads > MAX_LOADS or sum(self.retries.values()) > MAX_RETRIES:
            raise ValueError("too many loads or retries")
        if max(timed, sum(self.sources.values())) > loads:
            raise ValueError("more load times or sources than loads")
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
