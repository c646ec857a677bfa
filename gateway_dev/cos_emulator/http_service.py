"""A service on a socket of its own: what the emulated COS and the services beside it share, and their faults."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from gateway_dev.cos_emulator.control import CONTROL_PREFIX

_GARBAGE: Final = "<!doctype html><title>Sign in</title><p>Sign in to use this network.</p>"


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


class ServiceFault(BaseModel):
    """A fault of the next ``times`` requests that it applies to. ``times`` null: of every such request.

    Every service knows the kinds ``hang`` (no answer), ``garbage`` (status 200 and a page of HTML) and
    ``internal_error`` (an empty answer with status 500).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: str
    times: PositiveInt | None = 1

    async def common_answer(self) -> web.Response | None:
        """Return the answer of a kind that every service knows, None for another kind. Does not return for ``hang``."""
        if self.kind == "hang":
            await asyncio.Event().wait()
        if self.kind == "garbage":
            return web.Response(text=_GARBAGE, content_type="text/html")
        if self.kind == "internal_error":
            return web.Response(status=500)
        return None


F = TypeVar("F", bound=ServiceFault)


class ServiceFaults(Generic[F]):
    """Active faults of a ``model`` in the order they were added. The first fault that is for a request fires."""

    def __init__(self, model: type[F]) -> None:
        self._model = model
        self._active: list[tuple[F, int]] = []

    def add(self, fault: F) -> None:
        self._active.append((fault, 0))

    def clear(self) -> None:
        """Remove all faults. Requests that hang go on hanging."""
        self._active.clear()

    def fire(self, is_for: Callable[[F], bool]) -> F | None:
        """Count a request, and return the fault that fires or None. ``is_for`` tells if a fault is for the request."""
        for number, (fault, fired) in enumerate(self._active):
            if (fault.times is None or fired < fault.times) and is_for(fault):
                self._active[number] = fault, fired + 1
                return fault
        return None

    def add_routes(self, app: web.Application) -> None:
        """Let clients in another process add faults, and clear them."""
        app.router.add_post(f"{CONTROL_PREFIX}faults", self._post)
        app.router.add_delete(f"{CONTROL_PREFIX}faults", self._delete)

    async def _post(self, request: web.Request) -> web.Response:
        """Activate a fault: answer 201, or 400 with the validation errors."""
        try:
            self.add(self._model.model_validate_json(await request.read()))
        except ValidationError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=201)

    async def _delete(self, _request: web.Request) -> web.Response:
        self.clear()
        return web.Response(status=204)
