"""Who sends a request: a user, an anonymous client, or the admin."""

import time
from dataclasses import dataclass
from functools import wraps

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access.admin_guard import AdminGuard
from gateway.access.client_address import ClientAddress
from gateway.access.identity import Authenticator, Caller
from gateway.access.request_head import Address, RequestHead
from gateway.access.signed_links import LinkParameters
from gateway.delivery.request_context import REQUEST_CONTEXT, peer_of


@dataclass(frozen=True, slots=True)
class Callers:
    """Identifies callers, and notes each in the context of its request for the access log."""

    authenticator: Authenticator

    def of(self, request: web.BaseRequest) -> Caller:
        """Return the caller by the request's credentials and, for GET and HEAD, its signed link. Never raises."""
        return self.of_original(request, Address(request.rel_url.raw_path, request.query))

    def of_original(self, request: web.BaseRequest, address: Address) -> Caller:
        """Return the caller of the request that a proxy asks about, which was for ``address``. Never raises.

        The proxy passes on the credentials of that request.
        """
        head = head_of(request)._replace(path=address.path)  # as it was sent, because links sign the exact path
        given = LinkParameters.of(address.query)
        caller = self.authenticator.caller_of(head, given, time.time())
        request[REQUEST_CONTEXT].caller = caller
        return caller


@dataclass(frozen=True, slots=True)
class AdminOnly:
    """Makes handlers require ``Authorization: Bearer <admin.token>``."""

    guard: AdminGuard
    client_address: ClientAddress

    def __call__(self, handler: Handler) -> Handler:
        """Return a handler that raises what ``AdminGuard.check`` raises."""

        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.guard.check(request.headers, self.client_address.subscriber_of(request.headers, peer_of(request)))
            return await handler(request)

        return guarded


def head_of(request: web.BaseRequest) -> RequestHead:
    """Return the request as the policy sees it."""
    address = request.rel_url
    return RequestHead(request.method, address.raw_path, address.raw_query_string, request.headers, request.remote)
