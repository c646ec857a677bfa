"""The parameters that choose a rendition: ``style``, ``w``, ``dpr``, ``format`` and ``v``, validated."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import hdrs
from multidict import MultiMapping

from gateway.delivery.negotiation import choose_format
from gateway.errors import InvalidRequest, UnknownFormat
from gateway.presign.renditions import Renditions
from gateway.settings import Live, VariantSettings

_WIDTH = re.compile(r"[1-9][0-9]{0,4}")
_DPR = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,3})?")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AUTO: Final = "auto"
# A query of only these parameters, none of them encoded.
_PLAIN = re.compile(r"style=[a-z0-9_-]+(?:&(?:w|dpr|format|v)=[A-Za-z0-9._-]+)*")
_MOST_KNOWN: Final = 1024


class VariantRequest(NamedTuple):
    """A request for a rendition (None: the original), of any version if ``version`` is None.

    ``is_negotiated``: the format was chosen by ``Accept``.
    """

    rendition: str | None
    version: str | None
    is_negotiated: bool


ORIGINAL: Final = VariantRequest(None, None, is_negotiated=False)


class VariantRequests:
    """Reads the parameters by ``renditions`` and ``settings``."""

    def __init__(self, renditions: Renditions, settings: Live[VariantSettings]) -> None:
        self._renditions = renditions
        self._settings = settings
        self._known: dict[str, VariantRequest] = {}
        renditions.watch(lambda _: self._known.clear())

    def known(self, raw_query: str) -> VariantRequest | None:
        """Return the remembered variant of a query that has only the parameters of a variant and names its format.

        Pages ask for the same few hundred addresses: parsing costs a tenth of an answer from memory.
        """
        return self._known.get(raw_query)

    def remember(self, raw_query: str, chosen: VariantRequest) -> None:
        """Remember the variant of the query, for ``known``. At most 1024 queries are remembered."""
        if not chosen.is_negotiated and _PLAIN.fullmatch(raw_query):
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[raw_query] = chosen

    def is_negotiated(self, query: Mapping[str, str]) -> bool:
        """Return whether the answer to such a query depends on ``Accept``."""
        return self._renditions.negotiates and query.get("format") == _AUTO

    def parse(self, query: Mapping[str, str], headers: MultiMapping[str]) -> VariantRequest:
        """Return the variant that the query chooses.

        Raises ``UnknownStyle``, ``UnknownWidth``, ``UnknownFormat``, or ``InvalidRequest`` for a value that no address
        of an image has.
        """
        version = query.get("v")
        if version is not None and not _VERSION.fullmatch(version):
            raise InvalidRequest("v must be a version, as the API returns it")
        style, width = query.get("style"), self._width(query.get("w"), query.get("dpr"))
        image_format = query.get("format")
        if style is None:
            if width is not None or image_format is not None:
                raise InvalidRequest("w and format need a style")
            return VariantRequest(None, version, is_negotiated=False)
        if image_format != _AUTO:
            return VariantRequest(self._renditions.choose(style, width, image_format), version, is_negotiated=False)
        if not self._renditions.negotiates:
            raise UnknownFormat("format=auto is not turned on")
        self._renditions.choose(style, width)  # the style and the width are wrong for every format
        image_format = choose_format(headers.getall(hdrs.ACCEPT, ()), self._renditions.formats(style))
        return VariantRequest(self._renditions.choose(style, width, image_format), version, is_negotiated=True)

    def _width(self, width: str | None, dpr: str | None) -> float | None:
        """Return the width in device pixels, or None without one."""
        if width is None:
            if dpr is not None:
                raise InvalidRequest("dpr needs w")
            return None
        if not _WIDTH.fullmatch(width):
            raise InvalidRequest("w must be a number of pixels from 1 to 99999")
        if dpr is None:
            return int(width)
        if not _DPR.fullmatch(dpr) or float(dpr) == 0:
            raise InvalidRequest("dpr must be a number such as 2 or 1.5")
        return int(width) * min(float(dpr), self._settings.value.max_dpr)
