"""What the canary last saw through each front, and its metrics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from prometheus_client.core import GaugeMetricFamily
from pydantic import Field

from gateway.metrics.loop_counters import NamedCollector

Check = Literal["public", "private_anonymous", "private_link"]
PUBLIC: Final[Check] = "public"


@dataclass(frozen=True, slots=True)
class CanaryOutcome:
    """The result of one check of the canary, which requests images as users do through the proxy or CDN at ``via``.

    is_up: None if the canary itself is wrong, so that the answer shows nothing about the proxy or CDN.
    what: what was seen, as a sentence without its subject.
    seconds: how long the answer took, None without an answer. ``at``: when, in Unix seconds.
    """

    via: Annotated[str, Field(max_length=300)]
    check: Check
    is_up: bool | None
    what: Annotated[str, Field(max_length=500)]
    seconds: Annotated[float, Field(ge=0, le=3600)] | None
    at: Annotated[float, Field(ge=0, le=10**12)]


class CanaryOutcomes(NamedCollector):
    """The latest outcomes of the canary's checks, as metrics. Empty without a canary, and before its first round."""

    def __init__(self) -> None:
        self.latest: Sequence[CanaryOutcome] = ()

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
        for outcome in self.latest:
            if outcome.is_up is not None:
                up.add_metric((outcome.via, outcome.check), outcome.is_up)
            if outcome.check == PUBLIC and outcome.seconds is not None:
                seconds.add_metric((outcome.via,), outcome.seconds)
        yield up
        yield seconds
