"""Explain every step of a request for an image. The answer contains no signature, token or secret."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import yarl
from multidict import CIMultiDict

from gateway.access.caller import Caller
from gateway.access.identity import Authenticator
from gateway.access.policy import refusal
from gateway.access.request_head import RequestHead
from gateway.access.signed_links import short_address
from gateway.catalog.record import ImageRecord
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.decision import (
    NOTHING,
    REFUSALS,
    Answer,
    ImageRequest,
    NeedsBytes,
    NeedsLookUp,
    Refused,
    Rules,
    decide,
)
from gateway.delivery.parameters import Parameters, VariantRequests
from gateway.errors import NotAnImage, OriginUnavailable, RouteNotFound, Unauthorized
from gateway.explain.access import Credentials, caller_of, permitted, sender_of, why_hidden, why_seen
from gateway.explain.delivery import answer_facts, kept, picture
from gateway.explain.explanation import Explanation, Facts, Verdict
from gateway.explain.origin import AskedOrigin, OriginStep
from gateway.explain.row_and_url import CachedUrls, RowAndUrl, RowFinding
from gateway.findings.catalogue import CATALOGUE
from gateway.metrics.canary import CanaryOutcome
from gateway.objects.content import Content
from gateway.objects.variant_source import RefusedVariants
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import AuthorizedImage, SignedImage
from gateway.presign.style_variants import ImageVariant
from gateway.settings import Live

PARAMETERS: Final = ("style", "w", "dpr", "r", "format", "v")  # of an address, that choose a rendition
_NO_PARAMETERS: Final[Mapping[str, str]] = {}
_TYPE_ADVICE = "upload the object with a Content-Type of image/*, or fill postgres.columns.content_type"
_OLD_ROW_ADVICE = "POST /api/v1/cache/purge drops the cached URL now; check says how changes of rows are notified"


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains the answer to a request for an image. Asks every dependency, even after an earlier step has failed."""

    authenticator: Authenticator
    requests: VariantRequests
    row_and_url: RowAndUrl
    origin: OriginStep
    refused: RefusedVariants  # by COS, a moment ago
    rules: Live[Rules]
    outside: Callable[[], Awaitable[Sequence[CanaryOutcome]]]  # returns what the canary saw last

    async def explain(
        self, image_id: str, credentials: Credentials, parameters: Mapping[str, str] = _NO_PARAMETERS
    ) -> Explanation:
        """Return why a request with ``credentials`` is answered as it is. ``image_id`` must be valid.

        ``parameters``: of the address; without any, the link's. Raises the errors of ``VariantRequests.variant``.
        """
        stored, rules = self.row_and_url, self.rules.value
        chosen = self._chosen(parameters, credentials.link)
        cached = await stored.cached(ImageVariant(image_id, chosen.rendition))
        caller, facts = caller_of(credentials, self.authenticator)
        row = await stored.row(image_id, cached)
        dry = _DryRequest(self, image_id, chosen, row, cached)
        sender = sender_of(caller, image_id, row.record.alias if row.record is not None else None)
        decision = shown = await dry.decide(rules, sender)
        if row.record is not None and decision.image is None:
            shown = await dry.decide(rules, sender, would_serve=True)
        if shown.image is not None:
            facts |= why_seen(sender, shown.image, time.time())
        elif row.record is not None and isinstance(shown, Refused) and shown.is_denial:
            facts |= why_hidden(caller, row.record, time.time())
            shown = await dry.decide(rules, permitted(row.record, self.authenticator.links), would_serve=True)
        sections = {"row": row.facts, "caller": facts, "cached_url": cached.facts}
        if shown.image is not None:
            error = await dry.ask_also(shown)
            if error is not None and decision is shown:
                decision = error
            sections["cos"] = dry.facts(shown)
            sections["delivery"] = answer_facts(shown, shown.image, dry.wanted.parameters, rules.settings.delivery)
        elif row.record is not None:
            sections["cos"] = {"state": "not asked"}
        if isinstance(decision, Refused):
            delivery = sections.get("delivery", {})
            if "headers" in delivery:
                applies = "once the reason of the verdict is removed; until then an error is sent"
                delivery = {"applies": applies, **delivery}
            if delivery := delivery | picture(decision.error, rules.settings.fallback):
                sections["delivery"] = delivery
            verdict = _refused(decision, caller, row, facts, dry)
            sections["kept"] = dict.fromkeys(("browser", "nginx", "cdn"), "nothing: errors carry no-store")
        else:
            verdict = _served(decision, dry)
            sections["kept"] = kept(decision, rules.redirect.usable_for(decision.image.presigned, time.time()))
        sections["kept"]["nginx_that_asks"] = stored.forgotten(image_id)
        if row.record is not None and (variants := await stored.variants(image_id, rules.renditions)):
            sections["variants"] = variants
        if outcomes := await self.outside():
            sections["from_outside"] = _seen(outcomes, time.time())
        return Explanation(image_id, _of_old_row(verdict, row.facts), sections)

    def _chosen(self, parameters: Mapping[str, str], link: str | None) -> Parameters:
        """Return the rendition of ``parameters``, or without any of ``link``, for a client without ``Accept``."""
        if not parameters and link is not None:
            try:
                query = yarl.URL(link, encoded=True).query
            except ValueError:  # not an address; the access step reports it
                query = yarl.URL().query
            parameters = {name: query[name] for name in PARAMETERS if name in query}
        return self.requests.variant(parameters, CIMultiDict())


class _EmptyMemory:
    """Stands in for the memory of a gateway that has just started. It knows only which renditions COS refused."""

    def __init__(self, refused: RefusedVariants) -> None:
        self.refused = refused

    def image(self, _image_id: str, _rendition: str | None) -> None:
        """Return that every image has to be looked up."""

    def content(self, _image: AuthorizedImage) -> None:
        """Return that COS has to be asked for every image."""

    def keeps(self, _metadata: ObjectMetadata) -> bool:
        """Return whether such an object is kept: nothing is."""
        return False

    def now(self) -> float:
        """Return the time of all changes: there are none."""
        return 0.0

    def after_waiting(self, image: SignedImage, _since: float) -> SignedImage:
        """Return the image, which has just been read."""
        return image


class _DryRequest:
    """Simulates the explained request as a HEAD: decides it by the row, the cached URLs and COS's answers."""

    def __init__(
        self, explainer: Explainer, image_id: str, parameters: Parameters, row: RowFinding, cached: CachedUrls
    ) -> None:
        # HEAD has the header fields of GET. In accel mode, it is taken to come through nginx.
        headers = CIMultiDict({CONFIG_VERSION: "accel.conf "})
        head = RequestHead("HEAD", short_address(image_id), "", headers, None)
        self.wanted = ImageRequest(head, image_id, parameters)
        self.asked: dict[str | None, AskedOrigin] = {}  # COS's answers by rendition, in the order of asking
        self._origin, self._stored = explainer.origin, explainer.row_and_url
        self._row, self._cached = row, cached
        self._memory = _EmptyMemory(explainer.refused)

    async def decide(self, rules: Rules, as_if: Caller, *, would_serve: bool = False) -> Answer | Refused:
        """Return the answer by ``rules``, as if that caller had sent the request.

        would_serve: what would come next, if images were served at all, and also this row.
        """
        found, row = NOTHING, self._row
        if would_serve:
            rules = replace(rules, settings=rules.settings.model_copy(update={"enabled": True}))
        while True:
            decision = decide(self.wanted, found, self._memory, rules, time.time(), as_if)
            if isinstance(decision, NeedsLookUp):
                if row.error is not None:
                    return Refused(row.error, decision.caller)
                if row.record is None or (row.why_not is not None and not would_serve):
                    found = decision.found._replace(is_missing=True)
                else:
                    record, rendition = row.record, decision.rendition
                    image = self._in_use(record, rendition) or self._stored.signer.sign_image(record, rendition)
                    if row.is_unread:
                        image = image.as_unread()
                    found = decision.found._replace(image=image)
            elif isinstance(decision, NeedsBytes):
                image, found = decision.image, decision.found
                asked = await self._ask(image, by_client=False)
                if asked.metadata is not None and asked.error is None:
                    metadata = asked.metadata
                    if image.rendition is not None:  # the gateway sends an entity tag of its own, of all bytes
                        metadata = metadata._replace(etag=None)
                    found = found._replace(content=Content(image, metadata, 200))
                elif isinstance(asked.error, REFUSALS) and image.rendition is not None:
                    found = found._replace(refusal=asked.error)
                else:
                    error = asked.error or OriginUnavailable("COS sent no metadata")
                    return Refused(error, decision.caller, decision.delivery, image=image, found=found)
            else:
                return decision

    async def ask_also(self, decision: Answer | Refused) -> Refused | None:
        """Ask COS about an image that a request would not. Return the error that a redirected client gets of COS."""
        image = decision.image
        if image is None or image.rendition in self.asked:
            return None
        is_redirect = isinstance(decision, Answer) and decision.delivery == "redirect" and decision.names_content
        asked = await self._ask(image, by_client=is_redirect)
        if asked.error is None or not is_redirect:
            return None
        return Refused(asked.error, decision.caller, decision.delivery, image=image)

    def facts(self, decision: Answer | Refused) -> Facts:
        (rendition, first), *others = self.asked.items()
        facts, instead = first.facts, {name or "the original": asked.facts for name, asked in others}
        if rendition != self.wanted.parameters.rendition and decision.found.instead_of is not None:
            instead = {rendition or "the original": facts, **instead}
            facts = {"state": "not asked: COS did not make this rendition"}
        return facts | ({"instead": instead} if instead else {})

    async def _ask(self, image: AuthorizedImage, *, by_client: bool) -> AskedOrigin:
        asked = self.asked.get(image.rendition)
        if asked is None:
            is_cached = image.presigned == getattr(self._in_use(image.record, image.rendition), "presigned", None)
            asked = await self._origin.ask(image, is_cached=is_cached, by_client=by_client)
            self.asked[image.rendition] = asked
        return asked

    def _in_use(self, record: ImageRecord, rendition: str | None) -> SignedImage | None:
        """Return the cached image that a request uses. None: a URL has to be signed."""
        if rendition != self.wanted.parameters.rendition:
            return None
        return self._stored.in_use(self._cached, record)


def _refused(refused: Refused, caller: Caller, row: RowFinding, facts: Facts, dry: "_DryRequest") -> Verdict:
    error = refused.error
    if isinstance(error, RouteNotFound):
        reason, advice = "image_proxy.enabled is off", ""
    elif error is row.error:
        reason, advice = str(error), row.advice
    elif refused.is_denial and row.why_not is not None:
        reason, advice = row.why_not, row.advice
        if isinstance(error, Unauthorized):
            reason = f"{reason}; and the credentials are not valid: {refusal(caller)}"
    elif refused.is_denial:
        reason, advice = str(facts["why"]), ""
    elif isinstance(error, NotAnImage):
        reason, advice = f"COS sends no image: {error}", _TYPE_ADVICE
    else:
        asked = dry.asked.get(refused.image.rendition if refused.image is not None else None)
        reason, advice = str(error), asked.advice if asked is not None else ""
    return Verdict(error.status, error.code, reason, advice)


def _served(answer: Answer, dry: "_DryRequest") -> Verdict:
    if not answer.names_content:
        return Verdict(answer.status, None, "the client is redirected to the address of the current version")
    ways = {"stream": "streamed by the gateway", "accel": "sent by nginx", "redirect": "by a redirect to COS"}
    asked, note = dry.asked[answer.image.rendition], ""
    size = f"{asked.metadata.size} bytes" if asked.metadata is not None else "bytes"
    if "first_byte_again" in asked.facts:
        note = "; COS refused the first URL, which the gateway renews at the next request"
    if answer.found.instead_of is not None:
        sent = answer.image.rendition or "the original"
        note = f"; COS does not make what was asked for, so {sent} is sent instead"
    reason = f"the client gets the image, {size}, {ways[answer.delivery]}{note}"
    advice = CATALOGUE["clock_differs"].remedy if "clock" in asked.facts else ""
    return Verdict(answer.status, None, reason, advice)


def _seen(outcomes: Sequence[CanaryOutcome], now: float) -> Facts:
    """Return what the canary saw last, by front and check. It asks for its own images."""
    facts: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        verdict = {True: "ok", False: "fails", None: "not known"}[outcome.is_up]
        said = f"{verdict}: {outcome.what} ({max(0.0, now - outcome.at):.0f} s ago)"
        facts.setdefault(outcome.via, {})[outcome.check] = said
    return dict(facts)


def _of_old_row(verdict: Verdict, row: Facts) -> Verdict:
    """Return the verdict with the reason why the gateway does not use the row that was read, if it does not."""
    if "in_use" not in row:
        return verdict
    changes = f": changes are {row['changes']}" if "changes" in row else ""
    return replace(verdict, reason=f"{verdict.reason}; but {row['in_use']}{changes}", advice=_OLD_ROW_ADVICE)
