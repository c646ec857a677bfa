"""The interface of services that purge images, and the errors that they raise."""

from collections.abc import Collection, Sequence
from typing import Protocol


class TargetUnavailable(Exception):
    """The service accepts no purges of any image now. The text contains neither a secret nor an address.

    ``code`` is the error code of Tencent's service. None for other causes.
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class PurgeRefused(Exception):
    """The service refuses images, and would refuse them again.

    ``image_ids`` are the refused images, while the others were accepted. None: the whole request was refused.
    """

    def __init__(self, text: str, image_ids: Collection[str] | None = None) -> None:
        super().__init__(text)
        self.image_ids = image_ids


class Target(Protocol):
    """A service that purges images."""

    @property
    def most(self) -> int:
        """How many images a request may name, at least 1. The number may shrink."""

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""

    async def examine(self) -> str:
        """Try the service without a purge, and return a description of its state. Raises ``TargetUnavailable``."""
