"""The buffer limits of shared transfers, and the interface of the owner that limits their total."""

from typing import NamedTuple, Protocol, TypeVar

Transfer = TypeVar("Transfer", contravariant=True)


class BufferLimits(NamedTuple):
    """The buffer limits of a body, in bytes.

    ``window`` is the largest distance between the readers of a large body: a reader that falls behind gets its own
    connection. ``alone`` limits the beginning that a transfer with a single reader keeps for readers that may still
    join, ``beginnings`` the beginnings of all transfers together. A body of ``at_once`` or less has mostly arrived with
    its header.
    """

    window: int = 2 * 1024 * 1024
    alone: int = 512 * 1024
    at_once: int = 128 * 1024
    beginnings: int = 16 * 1024 * 1024


class TransferOwner(Protocol[Transfer]):
    """Receives the beginning and the end of transfers, and limits the bytes that they keep in total."""

    def opened(self, transfer: Transfer) -> bool:
        """Return whether to keep the whole body, which is open."""
        ...

    def finished(self, transfer: Transfer) -> None:
        """Handle the transfer's end, successful or not; called once."""
        ...

    def reserve_beginning(self) -> int:
        """Return the bytes of its beginning that a transfer may keep for a single reader; 0: none."""
        ...

    def release_beginning(self, most: int) -> None:
        """Return the bytes from ``reserve_beginning`` to the budget."""
        ...
