"""The rules of a request for an image, in their order: its answer, or what has to be awaited before it.

``decide`` awaits nothing, reads no clock and writes no log. Its caller awaits what is missing, adds it to ``Found`` and
calls it again: the gateway for a request, and ``explain`` for a request that nobody sends.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

from aiohttp import hdrs

from gateway.access.caller import Caller
from gateway.access.policy import FOR_EVERYBODY, Permission, authorize, permit, refusal
from gateway.access.request_head import RequestHead
from gateway.access.signed_links import LinkParameters
from gateway.delivery.accel import FAILED, fixed_lines, is_accel_conf, order
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.conditions_and_ranges import NOT_MODIFIED, WHOLE, ByteRange, Plan, plan_for
from gateway.delivery.headers import cache_status_of, content_type_of, image_fields, own_fields
from gateway.delivery.nginx_decisions import DECISION_FOR, NginxDecisions
from gateway.delivery.parameters import NO_PARAMETERS, Parameters
from gateway.delivery.prepared_response import Prepared, fields
from gateway.delivery.redirect import FIXED, ImageRedirect, to_current_version
from gateway.errors import (
    DENIALS,
    AccelNotConfigured,
    GatewayError,
    ImageNotFound,
    ImageTooLarge,
    NotAnImage,
    OriginRejected,
    OriginUnavailable,
    RouteNotFound,
)
from gateway.objects.content import Body, Content
from gateway.objects.variant_source import RefusedVariants
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import AuthorizedImage, SignedImage
from gateway.presign.style_variants import Renditions
from gateway.settings import ImageProxySettings

# An image's id, or what finds it: the image of an alias may be another one at each look-up.
ImageId: TypeAlias = str | Callable[[], Awaitable[str]]


class ImageRequest:
    """A client's request for an image: its header fields and parameters, parsed. The image id is valid.

    byte_range: None for the whole image. An invalid Range is ignored (RFC 9110 section 14.2).
    is_plain: GET of the whole image without conditions, as most requests are.
    """

    def __init__(self, head: RequestHead, image_id: ImageId, parameters: Parameters = NO_PARAMETERS) -> None:
        headers = head.headers
        self.head = head
        self.image_id = image_id
        self.parameters = parameters
        self.is_head = head.method == hdrs.METH_HEAD
        self.byte_range: ByteRange | None = None
        if hdrs.RANGE in headers and not self.is_head:  # only GET has ranges (RFC 9110 section 14.2)
            self.byte_range = ByteRange.parse(headers[hdrs.RANGE])
        self.is_conditional = (
            hdrs.IF_NONE_MATCH in headers
            or hdrs.IF_MODIFIED_SINCE in headers
            or hdrs.IF_MATCH in headers
            or hdrs.IF_UNMODIFIED_SINCE in headers
        )
        self.is_plain = not (self.is_head or self.is_conditional or self.byte_range is not None)


# Errors of the image or of the rule rather than of COS itself: another rule may succeed.
REFUSALS: Final = (ImageTooLarge, OriginRejected)
_MOST_LOOKUPS: Final = 3
_NO_IMAGE_FOR: Final = 3.0  # seconds, as COS's other final errors: the type may be corrected


class KnownInMemory(Protocol):
    """Looks up images and bytes in this process's memory alone, so that a request can be decided without I/O."""

    def image(self, image_id: str, rendition: str | None) -> SignedImage | None:
        """Return the image. None: it has to be looked up. Raises ``ImageNotFound`` or ``UnknownStyle``."""

    def content(self, image: AuthorizedImage) -> Content | None:
        """Return the metadata of the image's object, perhaps with its bytes. None: COS has to be asked."""

    def keeps(self, metadata: ObjectMetadata) -> bool:
        """Return whether such an object is kept whole once it was fetched."""

    def now(self) -> float:
        """Return the time in seconds by which changes are noted."""

    def after_waiting(self, image: SignedImage, since: float) -> SignedImage | None:
        """Return an image known ``since`` a time. None: its row has changed. Marked as unread: it may have."""

    @property
    def refused(self) -> RefusedVariants:
        """The renditions that COS did not make a moment ago."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings and services by which ``decide`` answers. ``decisions``: how long nginx may keep an answer.

    caller_of: returns who sent a request, given the parameters of a link in its query, and the time in Unix seconds.
    """

    settings: ImageProxySettings
    policy: CachePolicy
    caller_of: Callable[[RequestHead, LinkParameters | None, float], Caller]
    renditions: Renditions
    redirect: ImageRedirect
    decisions: NginxDecisions


class Found(NamedTuple):
    """What I/O has found for a request so far: the image with its URL (from Redis or Postgres), and COS's answer.

    image: the image that was looked up, whose row access is checked for.
    is_missing: the look-up found no image that the caller may see.
    content: what COS sent, or what memory had when COS was asked for more.
    refusal: why COS does not make the rendition of ``image``.
    rendition: replaces the requested one, if ``instead_of`` is its error. None: the original.
    since: when I/O was begun. A later change of the image makes all of this void.
    lookups: how often the image was looked up from the beginning.
    """

    image: SignedImage | None = None
    is_missing: bool = False
    content: Content | None = None
    refusal: GatewayError | None = None
    rendition: str | None = None
    instead_of: GatewayError | None = None
    since: float = math.inf
    lookups: int = 1

    def starts_again(self) -> "Found":
        """Return what is found of an image whose row has changed. Raises ``OriginUnavailable`` if it changes often."""
        if self.lookups == _MOST_LOOKUPS:
            raise OriginUnavailable(f"the image's row changed during {_MOST_LOOKUPS} look-ups")
        return Found(lookups=self.lookups + 1)


NOTHING = Found()


@dataclass(slots=True)
class Answer(Prepared):
    """A decision to send ``image``, or a redirect to it, to the caller, who may see it.

    delivery: who sends the bytes: ``stream``, ``redirect`` or ``accel``.
    source: the bytes on their way from COS, in place of ``body``.
    content: where the bytes and the metadata come from. None for a redirect.
    """

    image: AuthorizedImage
    delivery: str
    policy: CachePolicy
    found: Found
    caller: Caller | None
    content: Content | None = None
    plan: Plan = WHOLE
    source: Body | None = None

    @property
    def names_content(self) -> bool:
        """Whether the answer is the chosen image, and no redirect to another address of it."""
        return self.content is not None or self.delivery == "redirect"

    def becomes_unread(self, download: str | None) -> None:
        """Make the header lines of a body again: the image may have changed unheard since they were made."""
        assert self.content is not None, "a body comes with its metadata"  # noqa: S101
        self.policy = self.policy.for_unread()
        self.fixed = image_fields(self.image, self.content.metadata, self.policy, download)
        self.cache = cache_status_of(self.content, unread=True)
        self.own = own_fields(self.content, self.plan, self.cache)


@dataclass(slots=True)
class NeedsLookUp:
    """A decision that the image in ``rendition`` must be looked up first. ``caller_of`` identifies the sender."""

    rendition: str | None
    found: Found
    caller_of: Callable[[], Caller]
    caller: Caller | None
    delivery: str = "none"
    image: AuthorizedImage | None = None


@dataclass(slots=True)
class NeedsBytes:
    """A decision that COS must be asked first, for the image in ``found``, which the caller may see.

    by_nginx: only for the metadata, because nginx fetches the bytes.
    plan: the bytes that are missing. None: nothing is known of the object.
    """

    image: AuthorizedImage
    delivery: str
    found: Found
    caller: Caller | None
    by_nginx: bool = False
    plan: Plan | None = None


@dataclass(slots=True)
class Refused:
    """A decision to answer with an error. ``is_denial``: it hides whether an image exists. ``image``: if visible."""

    error: GatewayError
    caller: Caller | None
    delivery: str = "none"
    is_denial: bool = False
    image: AuthorizedImage | None = None
    found: Found = NOTHING


Decision: TypeAlias = Answer | NeedsLookUp | NeedsBytes | Refused


def decide(
    request: ImageRequest, found: Found, memory: KnownInMemory, rules: Rules, now: float, as_if: Caller | None = None
) -> Decision:
    """Return the answer to a request, or what is missing for it. Raises nothing.

    now: Unix seconds. as_if: who sends the request. None: who its credentials say.
    """
    case = _Case(request, found, memory, rules, now, known_caller=as_if)
    try:
        if not rules.settings.enabled:
            raise RouteNotFound
        if request.parameters.error is not None:
            raise request.parameters.error
        image = case.authorized()
        if image is None:
            found = case.found._replace(since=memory.now())
            return NeedsLookUp(case.missing, found, case.caller, case.known_caller)
        return case.answer(image)
    except GatewayError as error:
        if case.is_denied:
            return Refused(error, case.known_caller, is_denial=True)
        return Refused(error, case.known_caller, case.delivery, image=case.image, found=case.found)


@dataclass(slots=True)
class _Case:
    """The state of one decision: the request, and what is known of its caller and its image so far.

    permission: the right of the caller to view ``image``.
    known_caller: None as long as nothing depends on it.
    missing: the rendition to look up.
    is_denied: the caller may not see the image, or there is none.
    """

    request: ImageRequest
    found: Found
    memory: KnownInMemory
    rules: Rules
    now: float
    delivery: str = "none"
    image: AuthorizedImage | None = None
    permission: Permission = FOR_EVERYBODY
    known_caller: Caller | None = None
    missing: str | None = None
    is_denied: bool = False

    # 1. Access: the image, if the caller may see it.

    def authorized(self) -> AuthorizedImage | None:
        """Return the image that is sent, which may replace a rendition. None: it has to be looked up."""
        request, rules, memory = self.request, self.rules, self.memory
        while True:
            found = self.found
            rendition = request.parameters.rendition if found.instead_of is None else found.rendition
            image = found.image
            try:
                if found.is_missing:
                    raise refusal(self.caller())
                if image is None:
                    try:
                        if isinstance(request.image_id, str):
                            image = memory.image(request.image_id, rendition)
                    except ImageNotFound as error:
                        raise refusal(self.caller()) from error
                    if image is None:
                        self.missing = rendition
                        return None
                elif (image := memory.after_waiting(image, found.since)) is None:
                    self.found = found.starts_again()
                    continue
                if found.instead_of is not None:
                    audience = partial(rules.renditions.audience, image_is_public=image.record.public)
                    requested = audience(request.parameters.rendition)
                    if requested is not audience(image.rendition):  # a cache may keep a copy for all at this address
                        permit(self.caller, image.record, requested, self.now)
                        raise found.instead_of
                authorized, self.permission = authorize(self.caller, image, rules.renditions, self.now)
            except DENIALS:
                self.is_denied = True
                raise
            self.image = authorized
            if image.rendition is None or (found.refusal is None and not memory.refused.holds(image)):
                return authorized
            if request.parameters.version not in (None, image.record.version_token):
                return authorized  # to be redirected
            instead_of = found.refusal or ImageTooLarge("COS did not make the variant a moment ago")
            substitute = memory.refused.substitute_for(image, found.refusal)
            self.found = Found(rendition=substitute, instead_of=instead_of, lookups=found.lookups)

    def caller(self) -> Caller:
        """Return who sends the request. Images that everybody may see do not depend on it."""
        if self.known_caller is None:
            request = self.request
            self.known_caller = self.rules.caller_of(request.head, request.parameters.link, self.now)
        return self.known_caller

    # 2. Delivery: who sends the bytes, and how long caches keep them.

    def answer(self, image: AuthorizedImage) -> Decision:
        request, rules, found = self.request, self.rules, self.found
        parameters, policy = request.parameters, rules.policy
        delivery = "redirect" if parameters.redirect else rules.settings.delivery
        if delivery == "redirect" and not rules.redirect.public_urls.keeps_original(image):
            delivery = "stream"  # a caller with the URL of a rendition could get the original
        self.delivery = delivery
        if image.unread:
            policy = policy.for_unread()
        is_current = parameters.version is None or parameters.version == image.record.version_token
        if is_current and parameters.version is not None:
            policy = policy.for_version()
        if not is_current or found.instead_of is not None:
            policy = policy.for_substitute()
        if (until := self.permission.until) is not None:
            policy = policy.within(max(0, int(until - self.now)))
        if not is_current:
            return self._redirected(image, to_current_version(request.head.query, image, policy), policy)
        if delivery == "redirect":
            if self.known_caller is not None and (link := self.known_caller.link) is not None:
                # The redirect extends no link, which ends by this machine's clock, and its URL by COS's.
                image = image.ending_by(int(link.expires_at + rules.redirect.clock.ahead()))
            lines = rules.redirect.lines(request.head.method, image, policy, parameters.download, self.now)
            return self._redirected(image, lines, policy)
        if delivery == "accel" and not is_accel_conf(request.head.headers):
            raise AccelNotConfigured(f"prefix={rules.settings.accel_prefix}")
        by_nginx = delivery == "accel" and not _needs_gateway(request, image)
        content = found.content or self.memory.content(image)
        if content is None:
            found = found._replace(image=image, since=self.memory.now())
            return NeedsBytes(image, delivery, found, self.known_caller, by_nginx)
        if content.image.unread:  # its URL was renewed meanwhile
            policy = policy.for_unread()
        try:
            plan = WHOLE if request.is_plain else self._plan(content)
            if by_nginx and plan is not NOT_MODIFIED:
                return self._order(content, plan, policy)
            return self._bytes(content, plan, policy)
        except NotAnImage:
            if found.content is not None or (content.age or 0.0) < _NO_IMAGE_FOR:
                raise
        # By a HEAD for nginx, else by a GET of the whole: 304 would not tell another type.
        found = found._replace(image=image, content=None if by_nginx else content, since=self.memory.now())
        return NeedsBytes(image, delivery, found, self.known_caller, by_nginx, None if by_nginx else WHOLE)

    def _redirected(self, image: AuthorizedImage, lines: str, policy: CachePolicy) -> Answer:
        return Answer(FIXED, lines, b"", 302, 0, None, image, self.delivery, policy, self.found, self.known_caller)

    def _order(self, content: Content, plan: Plan, policy: CachePolicy) -> Answer:
        """Return the order to nginx to send the image."""
        request, image = self.request, content.image
        is_part = plan.status == 206 and not self.memory.keeps(content.metadata)
        lines = image_fields(image, content.metadata, policy, request.parameters.download)
        headers = order(self.rules.settings.accel_prefix, image, content.metadata, plan, is_part=is_part)
        is_substitute = self.found.instead_of is not None
        # Other answers depend on more of the request than nginx's key has.
        if request.is_plain and not is_substitute and not request.parameters.is_negotiated:
            headers_sent, caller = request.head.headers, self.known_caller
            if seconds := self.rules.decisions.on_image(headers_sent, image, caller, self.permission, policy, self.now):
                headers[DECISION_FOR] = str(seconds)
        cache = cache_status_of(content, is_substitute=is_substitute, unread=policy.unread)
        own = own_fields(content, WHOLE, cache) + fields(headers)
        fixed, delivery = fixed_lines(lines), self.delivery
        return Answer(fixed, own, b"", 200, 0, cache, image, delivery, policy, self.found, self.known_caller, content)

    # 3. Bytes: conditions and ranges.

    def _plan(self, content: Content) -> Plan:
        """Return the plan. Raises ``NotAnImage`` first, since errors ignore preconditions (RFC 9110 section 13.2.1)."""
        request = self.request
        if request.is_head and not request.is_conditional:
            return WHOLE
        if content.status == 304 and content.data is None:  # COS found the client's copy to be current
            return NOT_MODIFIED
        content_type_of(content.image.record.content_type, content.metadata.content_type)
        return plan_for(request.head.headers, request.byte_range, content.metadata)

    def _bytes(self, content: Content, plan: Plan, policy: CachePolicy) -> Answer | NeedsBytes:
        """Return 200, 206 or 304 with the planned bytes, or what is missing of them."""
        request, metadata, image, found = self.request, content.metadata, content.image, self.found
        with_body = plan is not NOT_MODIFIED
        data, source = b"", None
        length = metadata.size if with_body else None
        if with_body and not request.is_head:
            if content.data is not None:
                data = content.data if plan.last is None else content.data[plan.first : plan.last + 1]
                length = len(data)
            elif content.body is not None and (
                content.covered is None or (content.covered.first, content.covered.last) == (plan.first, plan.last)
            ):
                source = content.body
                if content.covered is None and not content.is_stored:
                    plan = WHOLE  # a range of an object too large to be kept: RFC 9110 section 14.2 lets it be ignored
                if plan.last is not None:
                    length = plan.last + 1 - plan.first
            else:
                content_type_of(image.record.content_type, metadata.content_type)  # COS need not send what is no image
                found = found._replace(image=image, content=content, since=self.memory.now())
                return NeedsBytes(image, self.delivery, found, self.known_caller, plan=plan)
        fixed = image_fields(image, metadata, policy, request.parameters.download, with_body=with_body)
        cache = cache_status_of(content, is_substitute=found.instead_of is not None, unread=policy.unread)
        own = own_fields(content, plan, cache)
        status, delivery, caller = plan.status, self.delivery, self.known_caller
        # By position: names take twice as long, in the answer that most requests get.
        return Answer(
            fixed, own, data, status, length, cache, image, delivery, policy, found, caller, content, plan, source
        )


def _needs_gateway(request: ImageRequest, image: SignedImage) -> bool:
    """Return whether nginx failed to get the object, or would answer the request wrongly.

    COS's HEAD may not describe a rendition, and each GET of one is a charge: the gateway sends it from memory. nginx
    answers an invalid Range with 416 and several ranges with several parts, where the gateway ignores them. With
    If-Unmodified-Since, even if other conditions are present, it may close the connection without a response. Such
    requests are rare, so they are streamed.
    """
    headers = request.head.headers
    return (
        request.is_head
        or image.rendition is not None
        or FAILED in headers
        or hdrs.IF_UNMODIFIED_SINCE in headers
        or (hdrs.RANGE in headers and request.byte_range is None)
    )
