"""What wraps handlers: the check of the admin's token, and the audit of what users and the admin do."""

import asyncio
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.access.admin_guard import AdminGuard
from gateway.access.client_address import ClientAddress
from gateway.delivery.request_context import REQUEST_CONTEXT, peer_of
from gateway.errors import GatewayError
from gateway.process.audit import AuditLog

# What a handler adds to the line of its request.
FACTS: Final = web.RequestKey("audit_facts", dict[str, Any])


@dataclass(frozen=True, slots=True)
class AdminOnly:
    """Wraps handlers of requests, so that they require ``Authorization: Bearer <admin.token>``."""

    guard: AdminGuard
    client_address: ClientAddress

    def __call__(self, handler: Handler) -> Handler:
        """Return a handler that raises what ``AdminGuard.check`` raises."""

        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            self.guard.check(request.headers, self.client_address.subscriber_of(request.headers, peer_of(request)))
            return await handler(request)

        return guarded


@dataclass(frozen=True, slots=True)
class Audited:
    """Wraps handlers of requests, so that each request writes a line of the audit log, also one that fails."""

    audit: AuditLog
    client_address: ClientAddress

    def __call__(self, handler: Handler, action: str, *, by_admin: bool = True) -> Handler:
        """Return a handler that notes ``action``: of the admin, or of the user whose credentials the request has."""

        @wraps(handler)
        async def audited(request: web.Request) -> web.StreamResponse:
            outcome: int | str = "cancelled"
            try:
                response = await handler(request)
                outcome = response.status
            except Exception as error:  # dispatch logs it and answers
                outcome = error.status if isinstance(error, GatewayError) else 500
                raise
            finally:
                if self.audit.is_on:
                    note = self.audit.note(
                        action,
                        "admin" if by_admin else _user_of(request),
                        client=self.client_address.of(request.headers, peer_of(request)),
                        request_id=request[REQUEST_CONTEXT].request_id,
                        outcome=outcome,
                        **{"image_id": request.match_info.get("image_id"), **request.get(FACTS, {})},
                    )
                    # Not ended with a request whose client has left.
                    await asyncio.shield(asyncio.create_task(note, name="audit"))
            return response

        return audited


def _user_of(request: web.Request) -> str:
    caller = request[REQUEST_CONTEXT].caller
    return f"user:{caller.user}" if caller is not None and caller.user is not None else "anonymous"
