"""A service of the emulator with its own socket."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web


class OwnSocket(ABC):
    """``async with service`` serves ``app()`` until the block ends; ``requested_port`` 0 is a free port."""

    host: str
    requested_port: int
    _runner: web.AppRunner | None = None

    @abstractmethod
    def app(self) -> web.Application:
        """Return the service as an application."""

    @property
    def url(self) -> str:
        """``http://host:port``; raises RuntimeError outside the block."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the service is not running")
        return f"http://{self.host}:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        runner = web.AppRunner(self.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.requested_port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
