"""Authorized look-up: from an image id to the signed image, if the sender of the request may view it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from aiohttp import web

from gateway.access.caller import Caller
from gateway.access.identity import Authenticator
from gateway.access.policy import Permission, Sender, authorize, authorize_owner, check_owner, permit, refusal
from gateway.access.request_head import Address
from gateway.access.signed_links import LinkParameters
from gateway.catalog.record import ImageRecord
from gateway.delivery.request_context import REQUEST_CONTEXT, head_of
from gateway.errors import CredentialsExpired, GatewayError, ImageNotFound
from gateway.presign.signer import AuthorizedImage, SignedImage
from gateway.presign.style_variants import Audience, Renditions
from gateway.settings import Live
from gateway.urls.resolver import Known, Resolved, UrlResolver

Checked = TypeVar("Checked")


@dataclass(frozen=True, slots=True)
class AuthorizedLookup:
    """Finds an image by its id, with a presigned URL, and in the same step checks whether the sender may view it.

    ``renditions`` says whether others than the owner may see the original.
    """

    resolver: UrlResolver
    authenticator: Authenticator
    renditions: Live[Renditions]

    def caller_of(self, request: web.BaseRequest, address: Address | None = None) -> Caller:
        """Return the caller by the request's credentials and, for GET and HEAD, its signed link. Never raises.

        address: that of the request that a proxy asks about, whose credentials it passes on. None: of ``request``.
        """
        address = address or Address(request.rel_url.raw_path, request.query)
        head = head_of(request)
        head.path = address.path  # as it was sent, because links sign the exact path
        caller = self.authenticator.caller_of(head, LinkParameters.of(address.query), time.time())
        request[REQUEST_CONTEXT].caller = caller
        return caller

    async def view(self, request: web.BaseRequest, image_id: str) -> Resolved[AuthorizedImage]:
        """Return the original if the sender of ``request`` may view it. Raises ``permit``'s errors.

        The sender is only identified for an image that is not public, and for an id that names no image.
        """
        try:
            resolved = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
        except ImageNotFound as error:
            raise refusal(self.caller_of(request)) from error
        return self._authorized(partial(self.caller_of, request), resolved, time.time())

    async def check(self, caller: Caller, image_id: str, rendition: str | None) -> Permission:
        """Return the right of ``caller`` to view the image in ``rendition``. Raises what ``look_up`` raises.

        Also when no URL can be signed: a copy in a cache may be viewed all the same. A right by a row that could not be
        read ends now.
        """
        known: SignedImage | Known
        try:
            try:
                known = (self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)).image
            except CredentialsExpired:
                known = await self.resolver.peek(image_id)
        except ImageNotFound as error:
            raise refusal(caller) from error
        audience, now = self.renditions.value.audience(rendition, image_is_public=known.record.public), time.time()
        permission = permit(lambda: caller, known.record, audience, now)
        return permission._replace(until=int(now)) if known.unread else permission

    async def view_many(
        self, request: web.BaseRequest, image_ids: list[str]
    ) -> dict[str, Resolved[AuthorizedImage] | GatewayError]:
        """Return for each id the image if the sender may view it, or the error that ``view`` would raise."""
        return await self._each(request, image_ids, self._authorized)

    async def own_many(
        self, request: web.BaseRequest, image_ids: list[str]
    ) -> dict[str, Resolved[SignedImage] | GatewayError]:
        """Return for each id the image if the sender owns it, or the error that ``own`` would raise."""

        def check(sender: Sender, found: Resolved[SignedImage], now: float) -> Resolved[SignedImage]:
            check_owner(sender, found.image.record, now)
            return found

        return await self._each(request, image_ids, check)

    async def records(self, request: web.BaseRequest, image_ids: list[str]) -> dict[str, ImageRecord]:
        """Return the rows of those of ``image_ids`` that the sender may view."""

        def check(sender: Sender, found: Resolved[SignedImage], now: float) -> ImageRecord:
            _check_row(sender, found.image.record, now)
            return found.image.record

        results = await self._each(request, image_ids, check)
        return {image_id: result for image_id, result in results.items() if isinstance(result, ImageRecord)}

    async def record(self, request: web.BaseRequest, image_id: str) -> ImageRecord:
        """Return the image's row if the sender may view the image. Raises what ``look_up`` raises."""
        return (await self._peek(request, image_id, _check_row)).record

    async def own(self, request: web.BaseRequest, image_id: str) -> Known:
        """Return the image's record and cached URL if the sender owns it."""
        return await self._peek(request, image_id, check_owner)

    def owned(self, request: web.BaseRequest, renewed: SignedImage) -> AuthorizedImage:
        """Return an image whose row was read anew if the sender owns it. Raises as ``own`` does."""
        return authorize_owner(partial(self.caller_of, request), renewed, time.time())

    def _authorized(self, sender: Sender, found: Resolved[SignedImage], now: float) -> Resolved[AuthorizedImage]:
        image, _ = authorize(sender, found.image, self.renditions.value, now)
        return Resolved(image, found.from_cache)

    async def _each(
        self,
        request: web.BaseRequest,
        image_ids: list[str],
        check: Callable[[Sender, Resolved[SignedImage], float], Checked],
    ) -> dict[str, Checked | GatewayError]:
        """Return for each id what ``check`` returns, or the error that a request for it alone would get."""
        caller, results = self.caller_of(request), dict[str, Checked | GatewayError]()
        all_found, now = await self.resolver.resolve_many(image_ids), time.time()
        for image_id, found in all_found.items():
            if isinstance(found, Resolved):
                try:
                    results[image_id] = check(lambda: caller, found, now)
                except GatewayError as error:
                    results[image_id] = error
            else:
                results[image_id] = refusal(caller) if isinstance(found, ImageNotFound) else found
        return results

    async def _peek(
        self, request: web.BaseRequest, image_id: str, check: Callable[[Sender, ImageRecord, float], None]
    ) -> Known:
        caller = self.caller_of(request)
        try:
            known = await self.resolver.peek(image_id)
        except ImageNotFound as error:
            raise refusal(caller) from error
        check(lambda: caller, known.record, time.time())
        return known


def _check_row(sender: Sender, record: ImageRecord, now: float) -> None:
    """Return if the sender may view the image in some rendition."""
    permit(sender, record, Audience.VIEWERS, now)
