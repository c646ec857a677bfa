"""A request for an image: its parameters, validated before any look-up, and its state while it is answered."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import hdrs, web

from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.conditions_and_ranges import ByteRange
from gateway.delivery.request_context import RequestContext
from gateway.errors import InvalidRequest, OriginUnavailable
from gateway.presign.signed_image import AuthorizedImage

_MOST_LOOKUPS = 3
_FILENAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")


@dataclass(slots=True)
class ImageRequest:
    """The parameters of one request, apart from those that choose a rendition.

    ``download`` (a file name) is None without such a parameter. ``byte_range`` is None for the whole image.
    ``is_plain``: GET of the whole image without conditions, as most requests are.
    """

    image_id: str
    download: str | None
    redirect: bool
    byte_range: ByteRange | None
    is_head: bool
    is_conditional: bool
    is_plain: bool

    @classmethod
    def parse(cls, image_id: str, query: Mapping[str, str], headers: Mapping[str, str], method: str = "GET") -> Self:
        """Return the parameters. Raises ``InvalidRequest``. An invalid Range is ignored (RFC 9110 section 14.2)."""
        is_head = method == hdrs.METH_HEAD
        byte_range = None
        if hdrs.RANGE in headers and not is_head:  # only GET has ranges (RFC 9110 section 14.2)
            byte_range = ByteRange.parse(headers[hdrs.RANGE])
        is_conditional = (
            hdrs.IF_NONE_MATCH in headers
            or hdrs.IF_MODIFIED_SINCE in headers
            or hdrs.IF_MATCH in headers
            or hdrs.IF_UNMODIFIED_SINCE in headers
        )
        is_plain = byte_range is None and not is_head and not is_conditional
        if not query:  # as in nearly all requests
            return cls(image_id, None, False, byte_range, is_head, is_conditional, is_plain)
        return cls(
            image_id=image_id,
            download=_file_name(query.get("download")),
            redirect=_flag(query.get("redirect")),
            byte_range=byte_range,
            is_head=is_head,
            is_conditional=is_conditional,
            is_plain=is_plain,
        )


# Looks up the image of a request again and checks access again. Raises the errors of the first look-up.
ResolveAgain = Callable[[web.BaseRequest, str, str | None], Awaitable[AuthorizedImage]]


class Exchange:
    """A request for an image that its caller may see, while it is answered.

    ``image`` is the image as it was looked up last. After ``RowChanged``, ``resolve_again`` looks it up and checks
    access again. ``is_fallback``: it replaces the requested rendition. ``policy`` limits how long caches may keep the
    answer.
    """

    __slots__ = ("_lookups", "_resolve_again", "context", "image", "is_fallback", "policy", "request", "wanted")

    def __init__(
        self,
        request: web.BaseRequest,
        context: RequestContext,
        wanted: ImageRequest,
        image: AuthorizedImage,
        policy: CachePolicy,
        resolve_again: ResolveAgain,
    ) -> None:
        self.request = request
        self.context = context
        self.wanted = wanted
        self.image = image
        self.policy = policy
        self.is_fallback = False
        self._lookups = 1
        self._resolve_again = resolve_again

    async def resolve_again(self) -> None:
        """Replace ``image``, whose row has changed.

        Raises ``GatewayError`` as the first look-up did, and ``OriginUnavailable`` if the row changes again and again.
        """
        if self._lookups == _MOST_LOOKUPS:
            raise OriginUnavailable(f"the image's row changed during {_MOST_LOOKUPS} look-ups")
        self._lookups += 1
        delivery, self.context.delivery = self.context.delivery, "none"  # as before the first look-up: it may deny
        await self._look_up(self.image.rendition)
        self.context.delivery = delivery

    async def fall_back(self, rendition: str | None) -> None:
        """Answer with another rendition, or with the original (None). Raises ``GatewayError`` as the look-up does."""
        await self._look_up(rendition)
        self.substitute()

    async def _look_up(self, rendition: str | None) -> None:
        before = self.image.record
        self.image = await self._resolve_again(self.request, self.wanted.image_id, rendition)
        if self.policy.immutable and self.image.record.version_token != before.version_token:
            self.policy = self.policy.for_substitute()  # the address names the version before

    def substitute(self) -> None:
        """Mark the answer as another image than the requested one, so that caches keep it only for a short time."""
        self.is_fallback = True
        self.policy = self.policy.for_substitute()


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
    match text:
        case None | "false" | "0":
            return False
        case "true" | "1":
            return True
        case _:
            raise InvalidRequest("redirect must be true or false")
