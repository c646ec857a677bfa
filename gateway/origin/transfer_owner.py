"""The buffer limits of shared transfers, and the interface of the owner that bounds what all of them keep."""

from typing import NamedTuple, Protocol, TypeVar

Transfer = TypeVar("Transfer", contravariant=True)


class BufferLimits(NamedTuple):
    """How much of a body is kept for its readers, in bytes.

    ``window`` is how far the readers of a large body may be apart: a reader that falls behind gets a connection of its
    own. ``alone`` is what a single reader keeps of the beginning for readers that may still join, and ``beginnings``
    what all of them keep together. A body of ``at_once`` or less has mostly arrived with its header.
    """

    window: int = 2 * 1024 * 1024
    alone: int = 512 * 1024
    at_once: int = 128 * 1024
    beginnings: int = 16 * 1024 * 1024


class TransferOwner(Protocol[Transfer]):
    """Receives the beginning and the end of transfers, and bounds what they keep together."""

    def opened(self, transfer: Transfer) -> bool:
        """Return whether the body, which is open, is to be kept whole."""
        ...

    def finished(self, transfer: Transfer) -> None:
        """Take the transfer's end, good or bad; called once."""
        ...

    def reserve_beginning(self) -> int:
        """Return how many bytes of its beginning a transfer may keep for a single reader; 0: none."""
        ...

    def release_beginning(self, most: int) -> None:
        """Take back what ``reserve_beginning`` returned."""
        ...
