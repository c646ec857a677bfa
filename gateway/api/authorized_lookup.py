"""Authorized look-up: from an image id to the signed image, if the caller may view it."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from gateway.access.identity import Caller
from gateway.access.policy import check_control, check_owner, check_view, refusal
from gateway.api.caller import Callers
from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired, GatewayError, ImageNotFound
from gateway.presign.signed_image import SignedImage
from gateway.urls.resolved import Known, Resolved
from gateway.urls.resolver import UrlResolver


class AuthorizedLookup:
    """Resolves images and checks access in one step, so that neither happens without the other.

    ``callers`` identifies the sender of a request, which is only needed for images that are not public and for ids
    that name no image.
    """

    def __init__(self, resolver: UrlResolver, callers: Callers) -> None:
        self._resolver = resolver
        self._callers = callers

    def get_cached(self, request: web.BaseRequest, image_id: str, style: str | None = None) -> Resolved | None:
        """Return the image if this process has it cached, else None.

        Raises what ``look_up`` raises.
        """
        try:
            resolved = self._resolver.get_cached(image_id, style)
        except ImageNotFound as error:
            raise refusal(self._callers.of(request)) from error
        if resolved is None or resolved.image.record.public:
            return resolved
        check_view(self._callers.of(request), resolved.image.record)
        return resolved

    async def look_up(self, request: web.BaseRequest, image_id: str, style: str | None = None) -> Resolved:
        """Look up an image that this process has not cached; raises what the resolver and ``check_view`` raise."""
        try:
            resolved = await self._resolver.look_up(image_id, style)
        except ImageNotFound as error:
            raise refusal(self._callers.of(request)) from error
        if not resolved.image.record.public:
            check_view(self._callers.of(request), resolved.image.record)
        return resolved

    async def resolve_again(self, request: web.BaseRequest, image_id: str, style: str | None = None) -> SignedImage:
        """Return the current image, if the sender of ``request`` may still view it."""
        resolved = self.get_cached(request, image_id, style) or await self.look_up(request, image_id, style)
        return resolved.image

    async def view(self, caller: Caller, image_id: str, style: str | None = None) -> Resolved:
        """Return the image if ``caller`` may view it; raises what the resolver and ``check_view`` raise."""
        with _hide_missing_images(caller):
            resolved = self._resolver.get_cached(image_id, style) or await self._resolver.look_up(image_id, style)
        check_view(caller, resolved.image.record)
        return resolved

    async def check(self, caller: Caller, image_id: str) -> None:
        """Return if ``caller`` may view the image, as ``view`` does, also when no URL can be signed."""
        try:
            await self.view(caller, image_id)
        except CredentialsExpired:  # a copy in a cache may be viewed all the same
            check_view(caller, (await self._peek(caller, image_id)).record)

    async def view_many(self, caller: Caller, image_ids: list[str]) -> dict[str, Resolved | GatewayError]:
        """Return for each id the image, or the error that ``view`` would raise."""
        results = await self._resolver.resolve_many(image_ids)
        return {image_id: _checked(caller, result) for image_id, result in results.items()}

    async def own_many(self, caller: Caller, image_ids: list[str]) -> dict[str, ImageRecord | GatewayError]:
        """Return for each id the image's record, or the error that ``own`` would raise."""
        results = await self._resolver.resolve_many(image_ids)
        return {image_id: _owned(caller, result) for image_id, result in results.items()}

    async def control(self, caller: Caller, image_id: str) -> Known:
        """Return the image's record and cached URL if ``caller`` may control it (``check_control``)."""
        peeked = await self._peek(caller, image_id)
        check_control(caller, peeked.record)
        return peeked

    async def own(self, caller: Caller, image_id: str) -> Known:
        """Return the image's record and cached URL if ``caller`` owns it."""
        peeked = await self._peek(caller, image_id)
        check_owner(caller, peeked.record)
        return peeked

    async def _peek(self, caller: Caller, image_id: str) -> Known:
        with _hide_missing_images(caller):
            return await self._resolver.peek(image_id)


def _checked(caller: Caller, result: Resolved | GatewayError) -> Resolved | GatewayError:
    try:
        with _hide_missing_images(caller):
            if isinstance(result, GatewayError):
                raise result
        check_view(caller, result.image.record)
    except GatewayError as error:
        return error
    return result


def _owned(caller: Caller, result: Resolved | GatewayError) -> ImageRecord | GatewayError:
    try:
        with _hide_missing_images(caller):
            if isinstance(result, GatewayError):
                raise result
        check_owner(caller, result.image.record)
    except GatewayError as error:
        return error
    return result.image.record


@contextmanager
def _hide_missing_images(caller: Caller) -> Iterator[None]:
    """Replace ``ImageNotFound`` by the error that the caller gets for a hidden image."""
    try:
        yield
    except ImageNotFound as error:
        raise refusal(caller) from error
