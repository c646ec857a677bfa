"""The parameters of an address, validated.

``style``, ``w``, ``dpr``, ``r``, ``format`` and ``v`` choose a rendition; ``download`` and ``redirect`` choose how it
is sent.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import hdrs
from multidict import MultiMapping
from yarl import URL

from gateway.access.signed_links import LinkParameters
from gateway.delivery.accept import choose_format
from gateway.errors import GatewayError, InvalidRequest, UnknownFormat
from gateway.presign.style_variants import Renditions
from gateway.settings import Live

_WIDTH = re.compile(r"[1-9][0-9]{0,4}")
_DPR = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,3})?")
_VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_AUTO: Final = "auto"
_FILENAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")
_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 512  # characters


class Parameters(NamedTuple):
    """The validated query of a request for an image.

    rendition: None: the original.
    version: None: any.
    download: the name of the file to save. None: the image is shown.
    is_negotiated: the answer depends on ``Accept``.
    error: the reason why no address of an image has such a query.
    """

    rendition: str | None = None
    version: str | None = None
    download: str | None = None
    redirect: bool = False
    link: LinkParameters | None = None
    is_negotiated: bool = False
    error: GatewayError | None = None


NO_PARAMETERS: Final = Parameters()


class VariantRequests:
    """Parses an image request's query to ``Parameters``, by the configured ``renditions``."""

    def __init__(self, renditions: Live[Renditions]) -> None:
        self._renditions = renditions
        self._known: Live[dict[str, Parameters]] = renditions.map(lambda _: {})

    def read(self, raw_query: str, headers: MultiMapping[str]) -> Parameters:
        """Return what the query of an image's address asks for.

        Pages ask for the same few thousand addresses: parsing costs as much as the rest of an answer from memory.
        """
        known = self._known.value
        if (parameters := known.get(raw_query)) is not None:
            return parameters
        read = self.parameters_of(URL.build(path="/", query_string=raw_query, encoded=True).query, headers)
        if not read.is_negotiated and read.error is None and len(raw_query) <= _LONGEST_KNOWN:
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[raw_query] = read
        return read

    def parameters_of(self, query: MultiMapping[str], headers: MultiMapping[str]) -> Parameters:
        """Return what a parsed query asks for."""
        is_negotiated = self._renditions.value.negotiates and query.get("format") == _AUTO
        try:
            return self.variant(query, headers)._replace(
                download=_file_name(query.get("download")),
                redirect=_flag(query.get("redirect")),
                link=LinkParameters.of(query),
                is_negotiated=is_negotiated,
            )
        except GatewayError as error:
            return Parameters(is_negotiated=is_negotiated, error=error)

    def variant(self, query: Mapping[str, str], headers: MultiMapping[str]) -> Parameters:
        """Return the rendition and the version that the query chooses.

        Raises ``UnknownStyle``, ``UnknownWidth``, ``UnknownRatio``, ``UnknownFormat``, or ``InvalidRequest`` for a
        value that no address of an image has.
        """
        version = query.get("v")
        if version is not None and not _VERSION.fullmatch(version):
            raise InvalidRequest("v must be a version, as the API returns it")
        renditions = self._renditions.value
        style, width = query.get("style"), self._width(query.get("w"), query.get("dpr"))
        ratio, image_format = query.get("r"), query.get("format")
        if style is None:
            if width is not None or ratio is not None or image_format is not None:
                raise InvalidRequest("w, r and format need a style")
            return Parameters(None, version)
        if image_format != _AUTO:
            return Parameters(renditions.choose(style, width, image_format, ratio), version)
        if not renditions.negotiates:
            raise UnknownFormat("format=auto is not turned on")
        renditions.choose(style, width, None, ratio)  # the style, width and ratio are wrong for every format
        image_format = choose_format(headers.getall(hdrs.ACCEPT, ()), renditions.formats(style))
        return Parameters(renditions.choose(style, width, image_format, ratio), version)

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
        return int(width) * min(float(dpr), self._renditions.value.max_dpr)


def _file_name(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("download is not valid UTF-8") from None
    if not _FILENAME.fullmatch(text):
        raise InvalidRequest("download must be a file name of 1 to 255 characters, without slashes")
    return text


def _flag(text: str | None) -> bool:
    if text not in (None, "false", "0", "true", "1"):
        raise InvalidRequest("redirect must be true or false")
    return text in ("true", "1")
