"""The addresses of an image in caches in front: of the original and of every style."""

from collections.abc import Sequence
from typing import Final

from gateway.presign.renditions import Renditions

_PATHS: Final = ("/i/{}", "/api/v1/images/{}/proxy")


class Addresses:
    """The addresses of images under each of ``base_urls``: of the original, and all of each style."""

    def __init__(self, base_urls: Sequence[str], renditions: Renditions) -> None:
        self._base_urls = base_urls
        self._renditions = renditions
        self._read_renditions()
        renditions.watch(lambda _: self._read_renditions())

    def _read_renditions(self) -> None:
        renditions = self._renditions
        queries = ["", *(f"?{query}" for style in renditions.styles for query in renditions.queries(style))]
        self._templates = [base + path + query for base in self._base_urls for path in _PATHS for query in queries]

    @property
    def per_image(self) -> int:
        """The number of addresses of an image."""
        return len(self._templates)

    def of(self, image_id: str) -> list[str]:
        """Return the addresses of the image. An id has no character that a path would have to escape (RFC 3986)."""
        return [template.format(image_id) for template in self._templates]
