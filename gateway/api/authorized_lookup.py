"""Authorized look-up: from an image id to the signed image, if the caller may view it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from aiohttp import web

from gateway.access.client_address import ClientAddress
from gateway.access.identity import ANONYMOUS, Caller
from gateway.access.policy import check_original, check_owner, check_view, may_view, refusal
from gateway.api.caller import Callers
from gateway.catalog.record import ImageRecord
from gateway.delivery.request_context import peer_of
from gateway.errors import CredentialsExpired, GatewayError, ImageNotFound
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import AuthorizedImage, SignedImage
from gateway.urls.new_variants import NewVariant
from gateway.urls.resolver import Known, Resolved, UrlResolver


class AuthorizedLookup:
    """Resolves images and checks access in one step, so that neither happens without the other.

    It makes the ``AuthorizedImage`` that every exit of bytes and URLs takes.

    ``callers`` identifies the sender of a request, which is only needed for images that are not public and for ids
    that name no image. ``renditions`` says which styles everybody may see, and whether others than the owner may see
    the original. ``client_address`` names who pays for a new variant.
    """

    def __init__(
        self, resolver: UrlResolver, callers: Callers, renditions: Renditions, client_address: ClientAddress
    ) -> None:
        self._resolver = resolver
        self._callers = callers
        self._renditions = renditions
        self._client_address = client_address

    def get_cached(
        self, request: web.BaseRequest, image_id: str, rendition: str | None = None
    ) -> Resolved[AuthorizedImage] | None:
        """Return the image if this process has it cached, else None.

        Raises what ``look_up`` raises.
        """
        try:
            resolved = self._resolver.get_cached(image_id, rendition)
        except ImageNotFound as error:
            raise refusal(self._callers.of(request)) from error
        return self._authorized(request, resolved) if resolved is not None else None

    def cached_for_everybody(self, image_id: str, rendition: str | None) -> AuthorizedImage | None:
        """Return the image if this process has it cached and everybody may see it, else None. It counts nothing."""
        image = self._resolver.cached_here(image_id, rendition)
        return AuthorizedImage(image) if image is not None and image.public else None

    def count_hit(self) -> None:
        """Count an image that ``cached_for_everybody`` returned, and that is sent."""
        self._resolver.count_hit()

    async def look_up(
        self, request: web.BaseRequest, image_id: str, rendition: str | None = None
    ) -> Resolved[AuthorizedImage]:
        """Look up an image that this process has not cached. Raises the errors of the resolver and ``check_view``."""
        try:
            # Only callers that may see a variant use up the bound on new ones, and get its error.
            is_unbounded = rendition is None or "@" not in rendition  # the original, or a fixed style
            try:
                resolved = await self._resolver.look_up(image_id, rendition, may_be_new=is_unbounded)
            except NewVariant as new:
                if rendition is not None and not self._renditions.is_public(rendition) and not new.record.public:
                    check_view(self._callers.of(request), new.record)
                client = self._client_address.subscriber_of(request.headers, peer_of(request))
                resolved = await self._resolver.look_up(image_id, rendition, client=client)
        except ImageNotFound as error:
            raise refusal(self._callers.of(request)) from error
        return self._authorized(request, resolved)

    def _authorized(self, request: web.BaseRequest, resolved: Resolved[SignedImage]) -> Resolved[AuthorizedImage]:
        """Return the image if the sender of ``request`` may view it. Raises what ``check_view`` raises."""
        if not resolved.image.public:
            self._check_caller(self._callers.of(request), resolved.image)
        return cast("Resolved[AuthorizedImage]", resolved)

    def _check_caller(self, caller: Caller, image: SignedImage) -> None:
        if not image.public:
            check_view(caller, image.record)
        if self._renditions.originals_for_owner and image.rendition is None:
            check_original(caller, image.record)

    async def resolve_again(
        self, request: web.BaseRequest, image_id: str, rendition: str | None = None
    ) -> AuthorizedImage:
        """Return the current image, if the sender of ``request`` may still view it."""
        resolved = self.get_cached(request, image_id, rendition) or await self.look_up(request, image_id, rendition)
        return resolved.image

    def for_everybody(self, image: SignedImage) -> AuthorizedImage | None:
        """Return the image if a caller without credentials may see it, else None."""
        try:
            self._check_caller(ANONYMOUS, image)
        except GatewayError:
            return None
        return AuthorizedImage(image)

    async def check(self, caller: Caller, image_id: str, *, is_original: bool, is_public_style: bool) -> None:
        """Return if ``caller`` may view the original, or a style of the image. Raises what ``look_up`` raises.

        Also when no URL can be signed: a copy in a cache may be viewed all the same.
        """
        with _hide_missing_images(caller):
            try:
                resolved = self._resolver.get_cached(image_id) or await self._resolver.look_up(image_id)
                record = resolved.image.record
            except CredentialsExpired:
                record = (await self._resolver.peek(image_id)).record
        if not is_public_style:
            check_view(caller, record)
        if self._renditions.originals_for_owner and is_original:
            check_original(caller, record)

    async def view_many(
        self, caller: Caller, image_ids: list[str]
    ) -> dict[str, Resolved[AuthorizedImage] | GatewayError]:
        """Return for each id the image if ``caller`` may view it, or the error that ``look_up`` would raise."""
        results = await self._resolver.resolve_many(image_ids)
        return {image_id: self._checked(caller, result) for image_id, result in results.items()}

    async def record(self, caller: Caller, image_id: str) -> ImageRecord:
        """Return the image's row if ``caller`` may view the image. Raises what ``look_up`` raises."""
        record = (await self._peek(caller, image_id)).record
        check_view(caller, record)
        return record

    async def records(self, caller: Caller, image_ids: list[str]) -> dict[str, ImageRecord]:
        """Return the rows of those of ``image_ids`` that ``caller`` may view."""
        results = await self._resolver.resolve_many(image_ids)
        found = {image_id: result.image.record for image_id, result in results.items() if isinstance(result, Resolved)}
        return {image_id: record for image_id, record in found.items() if may_view(caller, record)}

    async def own_many(self, caller: Caller, image_ids: list[str]) -> dict[str, ImageRecord | GatewayError]:
        """Return for each id the image's record, or the error that ``own`` would raise."""
        results = await self._resolver.resolve_many(image_ids)
        return {image_id: _owned(caller, result) for image_id, result in results.items()}

    async def own(self, caller: Caller, image_id: str) -> Known:
        """Return the image's record and cached URL if ``caller`` owns it."""
        peeked = await self._peek(caller, image_id)
        check_owner(caller, peeked.record)
        return peeked

    def owned(self, caller: Caller, renewed: SignedImage) -> AuthorizedImage:
        """Return an image whose row was read anew if ``caller`` owns it. Raises as ``own`` does."""
        check_owner(caller, renewed.record)
        return AuthorizedImage(renewed)

    def _checked(
        self, caller: Caller, result: Resolved[SignedImage] | GatewayError
    ) -> Resolved[AuthorizedImage] | GatewayError:
        try:
            with _hide_missing_images(caller):
                if isinstance(result, GatewayError):
                    raise result
            self._check_caller(caller, result.image)
        except GatewayError as error:
            return error
        return cast("Resolved[AuthorizedImage]", result)

    async def _peek(self, caller: Caller, image_id: str) -> Known:
        with _hide_missing_images(caller):
            return await self._resolver.peek(image_id)


def _owned(caller: Caller, result: Resolved[SignedImage] | GatewayError) -> ImageRecord | GatewayError:
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
