"""Options of image processing: each way that COS may behave where its documents are silent or differ.

The defaults are the emulator's behaviour without options. ``PUT /.emulator/processing`` replaces the options.
"""

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ProcessingOptions(BaseModel):
    """Options for every processed answer. The original itself is always answered as documented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors: Literal["refuse", "original"] = "refuse"
    """For an original that cannot be processed: 400 (doc 7730), or the original (developer article 1751091)."""
    avif_off: frozenset[str] = frozenset()
    """Buckets whose switch for AVIF is off (1246/109218): a rule with ``format/avif`` is 400 there."""
    crc: Literal["absent", "original", "result"] = "absent"
    """Whose CRC the header x-cos-hash-crc64ecma contains."""
    etag: Literal["result", "original", "absent"] = "result"
    """Whose ETag is sent."""
    head: Literal["result", "original"] = "result"
    """What HEAD describes: the answer of GET, or the original, as if there were no rule."""
    conditions: Literal["obeyed", "ignored"] = "obeyed"
    """Whether If-Match, If-None-Match, If-Modified-Since and If-Unmodified-Since have an effect."""
    range: Literal["obeyed", "ignored"] = "obeyed"
    """Whether Range has an effect."""
    length: Literal["known", "chunked"] = "known"
    """Whether the answer has a Content-Length; if not, it has chunks."""


@dataclass
class Processing:
    """Holder of the options in force, which may be replaced at any time."""

    options: ProcessingOptions = field(default_factory=ProcessingOptions)
