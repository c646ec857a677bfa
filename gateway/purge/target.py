"""Services that purge images: the addresses that they get, their interface, and the errors that they raise."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, TypeAlias
from urllib.parse import quote

from gateway.errors import CatalogUnavailable
from gateway.presign.style_variants import Renditions
from gateway.settings import Live

_PATHS: Final = ("/i/{}", "/api/v1/images/{}/proxy")


class TargetUnavailable(Exception):
    """The CDN or webhook accepts no purges of any image now. The text contains neither a secret nor an address.

    ``code`` is the error code of Tencent's service. None for other causes.
    """

    def __init__(self, text: str, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class PurgeRefused(Exception):
    """The CDN or webhook refuses to purge images, and would refuse them again.

    ``image_ids`` are the refused images, while the others were accepted. None: the whole request was refused.
    """

    def __init__(self, text: str, image_ids: Collection[str] | None = None) -> None:
        super().__init__(text)
        self.image_ids = image_ids


# Returns the aliases of those of the images that have any, by id. May raise ``CatalogUnavailable``.
AliasesOf: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, Collection[str]]]]


class Target(Protocol):
    """Client of a CDN, or of a webhook, that drops its copies of images on request."""

    @property
    def most(self) -> int:
        """How many images a request may name, at least 1. The number may shrink."""

    async def purge(self, image_ids: Sequence[str]) -> None:
        """Return once the service has accepted the purge. Raises ``TargetUnavailable`` or ``PurgeRefused``."""

    async def examine(self) -> str:
        """Try the service without a purge, and return a description of its state. Raises ``TargetUnavailable``."""


class Addresses:
    """Makes the URLs to purge from a CDN of an image, under each of ``base_urls``: original, styles in each form.

    aliases_of: returns the aliases of images, by id. None: images have none.
    """

    def __init__(
        self, base_urls: Sequence[str], renditions: Live[Renditions], aliases_of: AliasesOf | None = None
    ) -> None:
        self._base_urls = base_urls
        self._queries = renditions.map(_queries)
        self._aliases_of = aliases_of

    @property
    def per_image(self) -> int:
        """How many addresses an image has, counting one alias where images have aliases."""
        paths = len(_PATHS) + (self._aliases_of is not None)
        return len(self._base_urls) * paths * len(self._queries.value)

    def of(self, image_id: str, aliases: Collection[str] = ()) -> list[str]:
        """Return the addresses of the image. An id has no character that a path would have to escape (RFC 3986)."""
        paths = [*(path.format(image_id) for path in _PATHS), *(f"/a/{quote(alias)}" for alias in aliases)]
        return [base + path + query for base in self._base_urls for path in paths for query in self._queries.value]

    async def of_images(self, image_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the addresses of each image, by id. Raises ``TargetUnavailable`` if aliases cannot be read."""
        aliases: Mapping[str, Collection[str]] = {}
        if self._base_urls and self._aliases_of is not None:
            try:
                aliases = await self._aliases_of(image_ids)
            except CatalogUnavailable as error:
                raise TargetUnavailable(f"the aliases of images cannot be read: {error}") from error
        return {image_id: self.of(image_id, aliases.get(image_id, ())) for image_id in image_ids}


def _queries(renditions: Renditions) -> list[str]:
    return ["", *(f"?{query}" for style in renditions.styles for query in renditions.queries(style))]
