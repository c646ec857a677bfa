"""The metrics of what browsers report: untrusted, but bounded by closed sets of labels."""

from typing import Final, Literal, get_args

from gateway.metrics.loop_counters import LoopHistogram
from gateway.metrics.registry import Registry

# The outcome of a load: at the first attempt, after retries, failed, or failed with a fallback image.
LoadResult = Literal["loaded", "recovered", "failed", "fallback"]
# The source of the bytes, if the browser reports it.
BytesSource = Literal["cache", "network", "unknown"]
# The source of bytes whose number the browser reports.
KnownSource = Literal["cache", "network"]
# Why an attempt failed.
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


class BeaconMetrics:
    """Reports of browsers, and the loads of images that they report."""

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
