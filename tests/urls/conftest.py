"""A record and a clock to sign by."""

from dataclasses import dataclass

import pytest

from gateway.catalog.record import ImageRecord

NOW = 1_700_000_000


@dataclass
class Clock:
    """Time that moves when it is told to; in seconds."""

    now: float = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def record(image_id: str = "a", key: str = "a.png", **changes: object) -> ImageRecord:
    """A public image."""
    values: dict[str, object] = {
        "image_id": image_id,
        "owner": "alice",
        "public": True,
        "bucket": "b-1250000000",
        "region": "ap-beijing",
        "key": key,
        "content_type": "image/png",
    }
    return ImageRecord(**{**values, **changes})  # type: ignore[arg-type]
