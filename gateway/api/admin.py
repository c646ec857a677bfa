"""The guard of the admin port: reads need no token, changes do."""

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.app_keys import ADMIN_GUARD, CLIENT_ADDRESS


def admin_only(handler: Handler) -> Handler:
    """Make ``handler`` require ``Authorization: Bearer <admin.token>``; it raises what ``AdminGuard.check`` raises."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        client = request.app[CLIENT_ADDRESS].subscriber(request)
        request.app[ADMIN_GUARD].check(request.headers, client)
        return await handler(request)

    return guarded
