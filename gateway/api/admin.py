"""The guard of the admin port: reads need no token, changes do."""

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access.admin_guard import AdminGuard
from gateway.access.client_address import ClientAddress
from gateway.delivery.request_context import peer_of


class AdminOnly:
    """Makes handlers require ``Authorization: Bearer <admin.token>``."""

    def __init__(self, guard: AdminGuard, client_address: ClientAddress) -> None:
        self._guard = guard
        self._client_address = client_address

    def __call__(self, handler: Handler) -> Handler:
        """Return a handler that raises what ``AdminGuard.check`` raises."""

        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            self._guard.check(request.headers, self._client_address.subscriber_of(request.headers, peer_of(request)))
            return await handler(request)

        return guarded
