"""A service that is told to purge images, and the errors that it may answer with."""

from collections.abc import Sequence
from typing import Protocol


class TargetUnavailable(Exception):
    """The service takes no purges now, whatever they are of; the text contains neither a secret nor an address."""


class PurgeRefused(Exception):
    """The service refuses these images; another time will not help."""


class Target(Protocol):
    """A service that is told to purge images. ``most``: how many images one request may name."""

    most: int

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""
        ...
