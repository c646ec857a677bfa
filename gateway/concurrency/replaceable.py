"""An open value, such as a session with its tasks, that can be replaced while it is in use."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class Replaceable(Generic[T]):
    """Holds the ``value`` in use. Made by ``replaceable``, which closes it in the end."""

    def __init__(self, value: T, opened: AsyncExitStack) -> None:
        self.value = value
        self.opened = opened

    async def prepare(self, opening: AbstractAsyncContextManager[T]) -> "Successor[T]":
        """Open a candidate that may replace the value. Raises the errors of ``opening``."""
        return Successor(self, *await _open(opening))


class Successor(Generic[T]):
    """An open candidate: either ``take_over`` and then ``close_replaced`` is called, or ``discard``."""

    def __init__(self, holder: Replaceable[T], value: T, opened: AsyncExitStack) -> None:
        self.value = value
        self._holder = holder
        self._opened = opened

    def take_over(self) -> None:
        """Become the value in use. The replaced value stays open."""
        holder = self._holder
        holder.value = self.value
        holder.opened, self._opened = self._opened, holder.opened

    async def close_replaced(self) -> None:
        """Close the replaced value."""
        await self._opened.aclose()

    async def discard(self) -> None:
        """Close the candidate without using it."""
        await self._opened.aclose()


@asynccontextmanager
async def replaceable(opening: AbstractAsyncContextManager[T]) -> AsyncIterator[Replaceable[T]]:
    """Open a value, and at the end close the value that is then in use. Raises the errors of ``opening``."""
    holder = Replaceable(*await _open(opening))
    try:
        yield holder
    finally:
        await holder.opened.aclose()


async def _open(opening: AbstractAsyncContextManager[T]) -> tuple[T, AsyncExitStack]:
    opened = AsyncExitStack()
    return await opened.enter_async_context(opening), opened
