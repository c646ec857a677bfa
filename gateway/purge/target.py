"""The interface of services that purge images, and the errors that they raise."""

from collections.abc import Collection, Sequence
from typing import Protocol


class TargetUnavailable(Exception):
    """The service takes no purges now, whatever they are of; the text contains neither a secret nor an address.

    ``code`` is the error code of Tencent's service; None for anything else.
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class PurgeRefused(Exception):
    """The service refuses images; another time will not help.

    ``image_ids`` are those that it refuses, while it accepted the others; None: it refused the request as a whole.
    """

    def __init__(self, text: str, image_ids: Collection[str] | None = None) -> None:
        super().__init__(text)
        self.image_ids = image_ids


class Target(Protocol):
    """A service that purges images."""

    @property
    def most(self) -> int:
        """How many images one request may name, at least 1; it may shrink."""
        ...

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""
        ...

    async def examine(self) -> str:
        """Try the service without purging anything; return what was found. Raises ``TargetUnavailable``."""
        ...
