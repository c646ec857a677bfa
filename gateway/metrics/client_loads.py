"""Reports of browsers about the loads of images: the closed sets of labels, and the bounds of load times."""

from typing import Final, Literal

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
