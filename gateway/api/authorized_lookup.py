"""Authorized look-up: from an image id to the signed image, if the caller may view it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from aiohttp import web

from gateway.access.identity import Caller
from gateway.access.policy import check_original, check_owner, check_view, may_view, refusal
from gateway.api.authentication import Callers
from gateway.catalog.record import ImageRecord
from gateway.delivery.decision import check_image
from gateway.errors import CredentialsExpired, GatewayError, ImageNotFound
from gateway.presign.signed_image import AuthorizedImage, SignedImage
from gateway.presign.style_variants import Renditions
from gateway.urls.resolver import Known, Resolved, UrlResolver


@dataclass(frozen=True, slots=True)
class AuthorizedLookup:
    """Resolves images and checks access in one step, so that neither happens without the other.

    ``callers`` identifies the sender of a request, which is only needed for images that are not public and for ids
    that name no image. ``renditions`` says whether others than the owner may see the original.
    """

    resolver: UrlResolver
    callers: Callers
    renditions: Renditions

    async def view(self, request: web.BaseRequest, image_id: str) -> Resolved[AuthorizedImage]:
        """Return the original if the sender of ``request`` may view it. Raises ``check_image``'s errors."""
        try:
            resolved = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
        except ImageNotFound as error:
            raise refusal(self.callers.of(request)) from error
        self._check(lambda: self.callers.of(request), resolved.image)
        return cast("Resolved[AuthorizedImage]", resolved)

    def _check(self, caller: Callable[[], Caller], image: SignedImage) -> None:
        if not image.public:
            check_image(caller(), image, originals_for_owner=self.renditions.originals_for_owner)

    def for_everybody(self, image: SignedImage) -> AuthorizedImage | None:
        """Return the image if a caller without credentials may see it, else None."""
        return AuthorizedImage(image) if image.public else None

    async def check(self, caller: Caller, image_id: str, *, is_original: bool, is_public_style: bool) -> None:
        """Return if ``caller`` may view the original, or a style of the image. Raises what ``look_up`` raises.

        Also when no URL can be signed: a copy in a cache may be viewed all the same.
        """
        with _hide_missing_images(caller):
            try:
                resolved = self.resolver.get_cached(image_id) or await self.resolver.look_up(image_id)
                record = resolved.image.record
            except CredentialsExpired:
                record = (await self.resolver.peek(image_id)).record
        if not is_public_style:
            check_view(caller, record)
        if self.renditions.originals_for_owner and is_original:
            check_original(caller, record)

    async def view_many(
        self, caller: Caller, image_ids: list[str]
    ) -> dict[str, Resolved[AuthorizedImage] | GatewayError]:
        """Return for each id the image if ``caller`` may view it, or the error that ``look_up`` would raise."""
        results = await self._each(caller, image_ids, partial(self._check, lambda: caller))
        return cast("dict[str, Resolved[AuthorizedImage] | GatewayError]", results)

    async def record(self, caller: Caller, image_id: str) -> ImageRecord:
        """Return the image's row if ``caller`` may view the image. Raises what ``look_up`` raises."""
        record = (await self._peek(caller, image_id)).record
        check_view(caller, record)
        return record

    async def records(self, caller: Caller, image_ids: list[str]) -> dict[str, ImageRecord]:
        """Return the rows of those of ``image_ids`` that ``caller`` may view."""
        results = await self.resolver.resolve_many(image_ids)
        found = {image_id: result.image.record for image_id, result in results.items() if isinstance(result, Resolved)}
        return {image_id: record for image_id, record in found.items() if may_view(caller, record)}

    async def own_many(self, caller: Caller, image_ids: list[str]) -> dict[str, Resolved[SignedImage] | GatewayError]:
        """Return for each id the image if ``caller`` owns it, or the error that ``own`` would raise."""
        return await self._each(caller, image_ids, lambda image: check_owner(caller, image.record))

    async def own(self, caller: Caller, image_id: str) -> Known:
        """Return the image's record and cached URL if ``caller`` owns it."""
        peeked = await self._peek(caller, image_id)
        check_owner(caller, peeked.record)
        return peeked

    def owned(self, caller: Caller, renewed: SignedImage) -> AuthorizedImage:
        """Return an image whose row was read anew if ``caller`` owns it. Raises as ``own`` does."""
        check_owner(caller, renewed.record)
        return AuthorizedImage(renewed)

    async def _each(
        self, caller: Caller, image_ids: list[str], check: Callable[[SignedImage], None]
    ) -> dict[str, Resolved[SignedImage] | GatewayError]:
        """Return for each id the image, or the error that a request for it alone would get."""
        results = await self.resolver.resolve_many(image_ids)
        for image_id, result in results.items():
            try:
                with _hide_missing_images(caller):
                    if isinstance(result, GatewayError):
                        raise result
                check(result.image)
            except GatewayError as error:
                results[image_id] = error
        return results

    async def _peek(self, caller: Caller, image_id: str) -> Known:
        with _hide_missing_images(caller):
            return await self.resolver.peek(image_id)


@contextmanager
def _hide_missing_images(caller: Caller) -> Iterator[None]:
    """Replace ``ImageNotFound`` by the error that the caller gets for a hidden image."""
    try:
        yield
    except ImageNotFound as error:
        raise refusal(caller) from error
