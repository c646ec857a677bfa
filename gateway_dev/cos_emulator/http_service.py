"""A service on a socket of its own: what the emulated COS and the services beside it have in common."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web


class HttpService(ABC):
    """``async with service`` serves ``app()`` until the block ends. It can be entered again.

    ``host`` is a name or an IPv4 address, and ``requested_port`` 0 a free port. ``keepalive_timeout``: seconds that an
    idle connection stays open. ``shutdown_timeout``: seconds that answers in progress have to finish.
    """

    host: str = "127.0.0.1"
    requested_port: int
    keepalive_timeout: float = 75.0
    shutdown_timeout: float = 0.1
    _runner: web.AppRunner | None = None

    @abstractmethod
    def app(self) -> web.Application:
        """Return the service as an application."""

    @property
    def port(self) -> int:
        """Port that the service listens on. Raises RuntimeError outside the block."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError(f"{type(self).__name__} is not running")
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        """``http://host:port``, without a slash at the end. Raises RuntimeError outside the block."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        runner = web.AppRunner(
            self.app(),
            handler_cancellation=True,  # an answer that hangs ends when its client disconnects
            access_log=None,  # it would contain presigned URLs and tokens
            keepalive_timeout=self.keepalive_timeout,
            shutdown_timeout=self.shutdown_timeout,
        )
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
