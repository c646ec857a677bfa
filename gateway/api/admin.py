"""The admin port's guard: reads are open to whoever reaches the port, changes are not."""

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.app_keys import AUTHENTICATOR
from gateway.errors import Forbidden, Unauthorized


def admin_only(handler: Handler) -> Handler:
    """Let through what carries ``Authorization: Bearer <admin.token>``.

    Raises ``Unauthorized`` otherwise, and ``Forbidden`` while there is no such token: then nobody may.
    """

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        authenticator = request.app[AUTHENTICATOR]
        if not authenticator.has_admin:
            raise Forbidden
        if not authenticator.is_admin(request.headers):
            raise Unauthorized
        return await handler(request)

    return guarded
