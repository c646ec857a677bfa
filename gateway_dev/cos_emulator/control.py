"""Control addresses: faults, request log and processing options for clients in another process."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from gateway_dev.cos_emulator.faults import ArmedFault, Fault, Faults
from gateway_dev.cos_emulator.processed_answers import Processing, ProcessingOptions
from gateway_dev.cos_emulator.request_log import RequestLog

CONTROL_PREFIX = "/.emulator/"
"""Reserved path prefix: objects whose key starts with it cannot be read."""


@dataclass(frozen=True, slots=True)
class Control:
    """Handlers of the control addresses."""

    faults: Faults
    request_log: RequestLog
    processing: Processing

    def add_routes(self, app: web.Application) -> None:
        faults, request_log, processing = (CONTROL_PREFIX + name for name in ("faults", "journal", "processing"))
        app.router.add_get(faults, self.list_faults)
        app.router.add_post(faults, self.add_fault)
        app.router.add_delete(faults, self.clear_faults)
        app.router.add_get(request_log, self.show_request_log)
        app.router.add_delete(request_log, self.clear_request_log)
        app.router.add_get(processing, self.show_processing)
        app.router.add_put(processing, self.set_processing)
        app.router.add_delete(processing, self.reset_processing)

    async def list_faults(self, _request: web.Request) -> web.Response:
        """Answer with the active faults and their counters."""
        return web.json_response([_to_json(armed) for armed in self.faults.armed])

    async def add_fault(self, request: web.Request) -> web.Response:
        """Activate a fault: answer 201 with the fault, or 400 with the validation errors."""
        try:
            fault = Fault.model_validate_json(await request.read())
        except ValidationError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.json_response(_to_json(self.faults.add(fault)), status=201)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)

    async def show_request_log(self, _request: web.Request) -> web.Response:
        """Answer with the requests received, without credentials, and the number of their connections."""
        return web.json_response(self.request_log.to_json())

    async def clear_request_log(self, _request: web.Request) -> web.Response:
        self.request_log.clear()
        return web.Response(status=204)

    async def show_processing(self, _request: web.Request) -> web.Response:
        """Answer with the options of image processing."""
        return web.json_response(self.processing.options.model_dump(mode="json"))

    async def set_processing(self, request: web.Request) -> web.Response:
        """Replace the options, missing options by their defaults. Answer them, or 400 with the validation errors."""
        try:
            self.processing.options = ProcessingOptions.model_validate_json(await request.read())
        except ValidationError as error:
            return web.Response(status=400, text=f"{error}\n")
        return await self.show_processing(request)

    async def reset_processing(self, _request: web.Request) -> web.Response:
        self.processing.options = ProcessingOptions()
        return web.Response(status=204)


def _to_json(armed: ArmedFault) -> dict[str, Any]:
    return {**armed.fault.model_dump(mode="json"), "matched": armed.matched, "fired": armed.fired}
