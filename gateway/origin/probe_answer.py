"""COS's answer to a diagnostic request: metadata of the object, COS's time, and the error."""

from dataclasses import dataclass
from typing import Self

from gateway.concurrency.shared_timeout import SharedTimeout
from gateway.origin.cos_error import CosError
from gateway.origin.origin_response import CosAnswer, ObjectMetadata, checksum_in, metadata_in


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """An answer whose body was not read further than its error.

    ``seconds`` passed until its header had arrived. ``crc64`` is that of the whole object, None without one.
    """

    error: CosError
    metadata: ObjectMetadata
    crc64: int | None
    seconds: float

    @property
    def status(self) -> int:
        """HTTP status. It may be a success."""
        return self.error.status

    @property
    def is_success(self) -> bool:
        """Whether COS sent the object, or a part of it."""
        return self.status in (200, 206)

    @classmethod
    async def read(cls, response: CosAnswer, seconds: float, shared_timeout: SharedTimeout) -> Self:
        """Return the answer, and give its connection back."""
        metadata, crc64 = metadata_in(response.status, response.headers), checksum_in(response.headers)
        return cls(await response.read_error(shared_timeout), metadata, crc64, seconds)
