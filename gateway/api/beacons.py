"""``POST /api/v1/monitoring/beacons``: what pages report of their loads of images, as metrics.

A report has counts only: no ids and no addresses. The address is open to anyone, since pages need no credentials to
report. So the numbers are hints, never a reason to act on an image, and what one client can add is limited.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.access.client_address import ClientAddress
from gateway.api.json_bodies import read_body
from gateway.concurrency.rate_limit import RateLimit
from gateway.delivery.request_context import peer_of
from gateway.errors import GatewayError, InvalidBeacon, TooManyRequests, UnsupportedMediaType
from gateway.metrics.loop_counters import LoopHistogram
from gateway.metrics.registry import Registry

MAX_BODY = 16 * 1024  # bytes
BURST = 100  # beacons of one client at once: pages that are hidden together
_PER_SECOND = 5.0
# Browsers send a string by sendBeacon as text/plain, which needs no CORS preflight.
_CONTENT_TYPES = frozenset({"text/plain", "application/json"})
# A page sends a beacon every minute, so each count is far above what a page can see. They bound what one
# request can add to the metrics.
MAX_LOADS = 10_000
MAX_RETRIES = 100_000
MAX_ATTEMPTS = 200_000
MAX_SECONDS = 3600  # of one load, or until a paint
MAX_BYTES = 100_000_000  # of one picture

# The outcome of a load: at the first attempt, after retries, failed, or failed with a fallback image.
LoadResult = Literal["loaded", "recovered", "failed", "fallback"]
BytesSource = Literal["cache", "network", "unknown"]
# The source of bytes whose number the browser reports.
KnownSource = Literal["cache", "network"]
FailureKind = Literal[
    "network",
    "timeout",
    "decode",
    "throttled",
    "unavailable",
    "server",
    "unauthorized",
    "refused",
    "not_found",
    "blocked",
    "invalid",
]
# Upper bounds of the histogram's buckets in seconds. Browsers count by the same bounds.
LOAD_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# The same for the largest contentful paint of a page: up to 2.5 s is good, above 4 s is poor (web.dev/articles/lcp).
PAINT_SECONDS: Final = (0.25, 0.5, 1, 1.5, 2.5, 4, 6, 10, 30)
# The same for the bytes of a picture.
PICTURE_BYTES: Final = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)

_Loads = Annotated[int, Field(ge=0, le=MAX_LOADS)]
_Retries = Annotated[int, Field(ge=0, le=MAX_RETRIES)]


class BeaconMetrics:
    """Metrics of beacons, the reports that browsers send of their loads of images: how many came, and what they say."""

    def __init__(self, registry: Registry) -> None:
        self.client_beacons = registry.loop_counter(
            "client_beacons", "Reports of browsers: 'accepted', or the code of the error.", ("result",)
        )
        self.client_loads = registry.loop_counter(
            "client_loads", "Loads of images that browsers report, by result.", ("result",), get_args(LoadResult)
        )
        self.client_load_seconds = LoopHistogram(
            "image_gateway_client_load_seconds",
            "Time that browsers report from the start of a load until the image is shown, retries included.",
            LOAD_SECONDS,
        )
        self.client_paint_seconds = LoopHistogram(
            "image_gateway_client_paint_seconds",
            "Largest contentful paints (LCP) that browsers report, of pages where that is one of the images.",
            PAINT_SECONDS,
            ("source",),
        )
        self.client_picture_bytes = LoopHistogram(
            "image_gateway_client_picture_bytes",
            "Bytes of the images that browsers report, by where they came from.",
            PICTURE_BYTES,
            ("source",),
        )
        for histogram in (self.client_load_seconds, self.client_paint_seconds, self.client_picture_bytes):
            registry.register(histogram)
        self.client_attempts = registry.loop_counter(
            "client_attempts", "Requests for the bytes of images that browsers report, retries included."
        )
        self.client_retries = registry.loop_counter(
            "client_retries",
            "Retries that browsers report, by the reason why the attempt before failed.",
            ("reason",),
            get_args(FailureKind),
        )
        self.client_sources = registry.loop_counter(
            "client_sources",
            "Loads that browsers report, by where the bytes came from: 'unknown' if the browser hides it.",
            ("source",),
            get_args(BytesSource),
        )


class _Part(BaseModel):
    """Base of the models of a beacon (a browser's report as JSON). Strict: ``true`` and ``"1"`` are not numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Histogram(_Part):
    """A histogram in a beacon (a browser's report). ``most``: the largest value that is believed."""

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
    """How long a browser took to load images, in seconds, as a histogram."""

    most = MAX_SECONDS
    buckets: Annotated[list[_Loads], _buckets(LOAD_SECONDS, "loads that took")]


class PaintTimes(_Histogram):
    """How long a browser took to paint the largest content of pages (LCP), in seconds, as a histogram."""

    most = MAX_SECONDS
    buckets: Annotated[list[_Loads], _buckets(PAINT_SECONDS, "paints after")]


class PictureSizes(_Histogram):
    """How many bytes a browser received for a picture, as a histogram."""

    most = MAX_BYTES
    buckets: Annotated[list[_Loads], _buckets(PICTURE_BYTES, "pictures of")]


class Beacon(_Part):
    """A browser's report of its loads of images. What is left out counts as zero."""

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
        except ValidationError:  # its text quotes the body
            raise InvalidBeacon from None

    def count_in(self, metrics: BeaconMetrics) -> None:
        for result, amount in self.loads.items():
            metrics.client_loads.add((result,), amount)
        for reason, amount in self.retries.items():
            metrics.client_retries.add((reason,), amount)
        for source, amount in self.sources.items():
            metrics.client_sources.add((source,), amount)
        metrics.client_attempts.add(amount=self.attempts)
        if self.seconds is not None:
            metrics.client_load_seconds.merge(self.seconds.buckets, self.seconds.sum)
        for source, paints in self.paints.items():
            metrics.client_paint_seconds.merge(paints.buckets, paints.sum, source)
        for source, sizes in self.sizes.items():
            metrics.client_picture_bytes.merge(sizes.buckets, sizes.sum, source)


@dataclass(frozen=True, slots=True)
class Beacons:
    """Handler of beacons, the reports of browsers: validates and counts them, without Redis and Postgres."""

    metrics: BeaconMetrics
    client_address: ClientAddress
    limit: RateLimit = field(default_factory=lambda: RateLimit(_PER_SECOND, BURST))

    async def receive(self, request: web.Request) -> web.Response:
        """Count a beacon. Raises the errors of ``Beacon.parse`` and ``read_body``, and ``TooManyRequests``."""
        try:
            wait = self.limit.wait(self.client_address.subscriber_of(request.headers, peer_of(request)))
            if wait > 0:
                raise TooManyRequests("beacons of one client", wait=wait)
            # aiohttp parses the parameters as those of an e-mail: nonsense raises, and 8 KB of them take 0.2 s.
            content_type, _, _ = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")
            if content_type.strip().lower() not in _CONTENT_TYPES:
                raise UnsupportedMediaType
            beacon = Beacon.parse(await read_body(request.clone(client_max_size=MAX_BODY)))
        except GatewayError as error:
            self.metrics.client_beacons.add((error.code,))
            raise
        self.metrics.client_beacons.add(("accepted",))
        beacon.count_in(self.metrics)
        return web.Response(status=204, headers={"Cache-Control": "no-store"})
