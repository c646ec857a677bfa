"""The guard of the admin port: reads need no token, changes do."""

from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.app_keys import AUTHENTICATOR
from gateway.errors import Forbidden, Unauthorized


def admin_only(handler: Handler) -> Handler:
    """Make ``handler`` require ``Authorization: Bearer <admin.token>``.

    It raises ``Unauthorized`` without the token, and ``Forbidden`` if no token is configured.
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
