"""Explain step: the requested rendition, and the state of the others."""

from collections.abc import Mapping

import yarl
from multidict import CIMultiDict

from gateway.delivery.parameters import VariantRequest, VariantRequests
from gateway.errors import DependencyDown
from gateway.explain.explanation import Facts
from gateway.presign.renditions import Renditions
from gateway.presign.signed_image import ImageVariant
from gateway.redis_entries.url_entries import UrlEntries

# The parameters of an address that choose a rendition.
PARAMETERS = ("style", "w", "dpr", "format", "v")


class VariantStep:
    """Reads the parameters of a rendition as a request does, and looks for cached URLs of every rendition."""

    def __init__(
        self,
        renditions: Renditions,
        requests: VariantRequests,
        shared: UrlEntries | None,
    ) -> None:
        self.renditions = renditions
        self._requests = requests
        self._shared = shared

    def chosen(self, parameters: Mapping[str, str], link: str | None) -> VariantRequest:
        """Return the rendition of ``parameters``, or without parameters the rendition of the address of ``link``.

        ``format=auto`` is resolved as for a client without ``Accept``. Raises the errors of ``VariantRequests.parse``.
        """
        if not parameters and link is not None:
            try:
                query = yarl.URL(link, encoded=True).query
            except ValueError:  # not an address; the access step reports it
                query = yarl.URL().query
            parameters = {name: query[name] for name in PARAMETERS if name in query}
        return self._requests.parse(parameters, CIMultiDict())

    async def facts(self, image_id: str) -> Facts:
        """Return each style with its widths and formats, its audience, and its URLs in Redis."""
        names = self.renditions.names
        cached: set[str] | None = set()
        if self._shared is not None and names:
            try:
                headers = await self._shared.read_headers([ImageVariant(image_id, name) for name in names])
                cached = {
                    str(variant.rendition) for variant, header in headers.items() if header.expires_at is not None
                }
            except DependencyDown:
                cached = None
        return {style: self._style(style, cached) for style in self.renditions.styles}

    def _style(self, style: str, cached: set[str] | None) -> Facts:
        own = [name for name in self.renditions.names if self.renditions.get(name).style == style]
        in_redis = [name for name in own if name in cached] if cached is not None else "not known"
        return {
            "may_be_seen_by": "everybody" if self.renditions.is_public(own[0]) else "callers who may see the image",
            "widths": list(self.renditions.widths(style)),
            "formats": list(self.renditions.formats(style)),
            "cached_in_redis": in_redis,
        }
