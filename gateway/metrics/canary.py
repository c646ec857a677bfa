"""What the canary last saw through each front, and its metrics."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from prometheus_client.core import GaugeMetricFamily
from pydantic import Field

from gateway.metrics.loop_counters import NamedCollector

Check = Literal["public", "private_anonymous", "private_link", "private_token", "change"]
PUBLIC: Final[Check] = "public"
CHANGE: Final[Check] = "change"


@dataclass(frozen=True, slots=True)
class CanaryOutcome:
    """The result of one check of the canary, which requests images as users do through the proxy or CDN at ``via``.

    is_up: None if the canary itself is wrong, so that the answer shows nothing about the proxy or CDN.
    what: what was seen, as a sentence without its subject.
    seconds: how long the answer took, None without an answer; of a change, until its bytes came.
    at: when, in Unix seconds.
    """

    via: Annotated[str, Field(max_length=300)]
    check: Check
    is_up: bool | None
    what: Annotated[str, Field(max_length=500)]
    seconds: Annotated[float, Field(ge=0, le=3600)] | None = None
    at: Annotated[float, Field(ge=0, le=10**12)] = field(default_factory=time.time)


class CanaryOutcomes(NamedCollector):
    """The latest outcomes of the canary's checks, as metrics. Empty without a canary, and before its first round."""

    def __init__(self) -> None:
        self._by_part: dict[str, Sequence[CanaryOutcome]] = {}

    @property
    def latest(self) -> Sequence[CanaryOutcome]:
        """The outcomes of all parts of the canary."""
        return [outcome for outcomes in self._by_part.values() for outcome in outcomes]

    def put(self, part: str, outcomes: Sequence[CanaryOutcome]) -> None:
        """Replace the outcomes of a part of the canary."""
        self._by_part[part] = outcomes

    def clear(self) -> None:
        self._by_part.clear()

    def of(self, part: str) -> Sequence[CanaryOutcome]:
        return self._by_part.get(part, ())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily(
            "image_gateway_canary_up",
            "1 if the canary gets through the front what a user should get, else 0; absent while the canary is wrong.",
            labels=("via", "check"),
        )
        seconds = GaugeMetricFamily(
            "image_gateway_canary_seconds",
            "Time until the canary had the whole public image through the front.",
            labels=("via",),
        )
        change = GaugeMetricFamily(
            "image_gateway_canary_change_seconds",
            "Time from a change of the canary's own row until every answer through the front had the new bytes.",
            labels=("via",),
        )
        for outcome in self.latest:
            if outcome.is_up is not None:
                up.add_metric((outcome.via, outcome.check), outcome.is_up)
            if outcome.check == PUBLIC and outcome.seconds is not None:
                seconds.add_metric((outcome.via,), outcome.seconds)
            if outcome.check == CHANGE and outcome.seconds is not None:
                change.add_metric((outcome.via,), outcome.seconds)
        yield up
        yield seconds
        yield change
