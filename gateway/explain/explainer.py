"""Explain every step of a request for an image. The answer contains no signature, token or secret.

The command ``explain`` and ``GET /api/v1/monitoring/explain/{id}`` ask here; so may a page.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.access.identity import Caller
from gateway.access.policy import refusal
from gateway.catalog.postgres import PostgresCatalog
from gateway.catalog.record import ImageRecord
from gateway.checks.cos_advice import CLOCK
from gateway.checks.database import advice_on
from gateway.delivery.cache_policy import CachePolicy
from gateway.delivery.variant_fallback import REFUSALS, not_made
from gateway.errors import CatalogUnavailable, RouteNotFound, Unauthorized
from gateway.explain.access import AccessStep, Credentials
from gateway.explain.cache import CachedUrls, CacheStep
from gateway.explain.delivery import DeliveryStep, nothing_kept
from gateway.explain.explanation import Explanation, Facts, Problem, Verdict
from gateway.explain.origin import AskedOrigin, OriginStep
from gateway.explain.variants import VariantStep
from gateway.metrics.canary import CanaryOutcome
from gateway.origin.refused_variants import RefusedVariants
from gateway.presign.signed_image import SignedImage
from gateway.presign.signer import Signer
from gateway.settings import Live

_NO_PARAMETERS: Mapping[str, str] = {}
_NO_ROW_ADVICE = "check the id; postgres.table and postgres.columns.id name the table and the column that is searched"
_ROW_ADVICE = "look at the row; postgres.table and postgres.columns name the table and its columns"
_OLD_ROW_ADVICE = "POST /api/v1/cache/purge drops the cached URL now; check says how changes of rows are notified"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps, a module each."""

    access: AccessStep
    cache: CacheStep
    origin: OriginStep
    variants: VariantStep
    delivery: DeliveryStep


class Explainer:
    """Follows a request for an image. Every dependency is asked, also when an earlier step has failed."""

    def __init__(
        self,
        catalog: PostgresCatalog,
        steps: Steps,
        signer: Signer,
        refused: RefusedVariants,
        policy: Live[CachePolicy],
        outside: Callable[[], Awaitable[Sequence[CanaryOutcome]]],
    ) -> None:
        self._outside = outside
        self._catalog = catalog
        self.steps = steps
        self._signer = signer
        self._refused_variants = refused
        self._policy = policy

    async def explain(
        self, image_id: str, credentials: Credentials, parameters: Mapping[str, str] = _NO_PARAMETERS
    ) -> Explanation:
        """Return why a request with ``credentials`` is answered as it is. ``image_id`` must be valid.

        ``parameters`` choose a rendition, as the parameters of an address do. Without any, the parameters of the link's
        address choose it. Raises the errors of ``VariantRequests.parse``.
        """
        explanation = await self._explain(image_id, credentials, parameters)
        if outcomes := await self._outside():
            explanation.sections["from_outside"] = _seen(outcomes, time.time())
        return explanation

    async def _explain(self, image_id: str, credentials: Credentials, parameters: Mapping[str, str]) -> Explanation:
        chosen = self.steps.variants.chosen(parameters, credentials.link)
        explanation = Explanation(image_id, Verdict(500, None, ""))
        sections = explanation.sections
        cached = await self.steps.cache.look(image_id, chosen.rendition)
        caller, facts = self.steps.access.caller_of(credentials)
        record, errors, sections["row"] = await self._row(image_id, cached, caller)
        if record is None:
            sections["caller"], sections["cached_url"] = facts, cached.facts
            if picture := self.steps.delivery.picture(errors[0][0]):
                sections["delivery"] = picture
            explanation.verdict = _of_old_row(_refused(errors), sections["row"])
            sections["kept"] = nothing_kept() | {"nginx_that_asks": self.steps.cache.forgotten(image_id)}
            return explanation
        in_use = self.steps.cache.image_of(cached, record)
        image = in_use or self._signer.sign_image(record, chosen.rendition)
        denial, may_view = self.steps.access.check(caller, image)
        sections["caller"], sections["cached_url"] = facts | may_view, cached.facts
        if denial is not None:
            errors.append((denial, str(may_view["why"]), ""))
        policy = self._policy.value
        if chosen.version == record.version_token:
            policy = policy.for_version()
        sent, asked = await self._ask(image, caller, is_cached=in_use is not None)
        sections["cos"] = asked.facts
        if sent.rendition != image.rendition:
            image, policy = sent, self._policy.value.for_substitute()
        delivery, failure = self.steps.delivery.of(image, asked, policy)
        sections["delivery"] = delivery
        if failure is not None:
            errors.append(failure)
        delivery["rendition"] = image.rendition or "the original"
        if chosen.version not in (None, record.version_token):
            delivery["version"] = f"another one: the client is redirected to v={record.version_token}"
        if errors and "headers" in delivery:
            sections["delivery"] = {
                "applies": "once the reason of the verdict is removed; until then an error is sent",
                **delivery,
                **self.steps.delivery.picture(errors[0][0]),
            }
        verdict = _refused(errors) if errors else self._served(asked, delivery)
        explanation.verdict = _of_old_row(verdict, sections["row"])
        sections["kept"] = nothing_kept() if errors else self.steps.delivery.kept(image, policy, delivery)
        sections["kept"]["nginx_that_asks"] = self.steps.cache.forgotten(image_id)
        if variants := await self.steps.variants.facts(image_id):
            sections["variants"] = variants
        return explanation

    async def _ask(self, image: SignedImage, caller: Caller, *, is_cached: bool) -> tuple[SignedImage, AskedOrigin]:
        """Return the image that is sent, which may replace a rendition that COS does not make, and COS's answers.

        For a caller who may not see the replacement, the error of the rendition stays.
        """
        facts: Facts = {}
        instead: Facts = {}
        while True:
            by_client = self.steps.delivery.is_redirect(image)
            if image.rendition is not None and self._refused_variants.holds(image):
                error = None
                asked = AskedOrigin({"state": "not asked: COS did not make this rendition"}, error=not_made())
            else:
                asked = await self.steps.origin.ask(image, is_cached=is_cached, by_client=by_client)
                error = asked.error
            if not facts:
                facts = asked.facts
            else:
                instead[image.rendition or "the original"] = asked.facts
            if image.rendition is None or not isinstance(asked.error, REFUSALS) or (by_client and error is not None):
                break
            other = self._refused_variants.substitute_for(image, error)
            substitute = self._signer.sign_image(image.record, other)
            if self.steps.access.check(caller, substitute)[0] is not None:
                break
            image, is_cached = substitute, False
        return image, replace(asked, facts=facts | ({"instead": instead} if instead else {}))

    async def _row(
        self, image_id: str, cached: CachedUrls, caller: Caller
    ) -> tuple[ImageRecord | None, "_Errors", Facts]:
        """Return the row to go on with, the errors so far, and the facts of the row."""
        errors: _Errors = []
        if not self.steps.delivery.is_enabled:
            errors.append((RouteNotFound(), "image_proxy.enabled is off", ""))
        try:
            row = await self._catalog.inspect(image_id)
        except CatalogUnavailable as error:
            facts: Facts = {"state": f"not known: Postgres failed: {error}"}
            if cached.entries.without_row is None:
                errors.append((error, str(error), advice_on(error)))
                return None, errors, facts
            return cached.entries.without_row.record, errors, facts | {"used": "that of the cached entry"}
        cache = self.steps.cache
        facts = {}
        if why := await cache.changes():
            facts["changes"] = f"not notified: {why}"
        if in_use := cache.earlier_row(cached, row.record if row is not None and row.reason is None else None):
            facts["in_use"] = in_use
        if row is None:
            errors.append(_not_found(caller, "the table has no row with this id", _NO_ROW_ADVICE))
            return None, errors, {"state": "none", **facts}
        facts = {"state": "not served" if row.reason is not None else "served", "status": row.status, **facts}
        if row.reason is not None:
            errors.append(_not_found(caller, f"the row is not served: {row.reason}", _ROW_ADVICE))
            facts["why"] = row.reason
        return row.record, errors, facts | (_facts_of(row.record) if row.record is not None else {})

    def _served(self, asked: AskedOrigin, delivery: Facts) -> Verdict:
        ways = {"stream": "streamed by the gateway", "accel": "sent by nginx", "redirect": "by a redirect to COS"}
        status, way = delivery["status"], ways[str(delivery["mode"])]
        metadata = asked.metadata
        size = f"{metadata.size} bytes" if metadata is not None else "bytes"
        again = "first_byte_again" in asked.facts
        note = "; COS refused the first URL, which the gateway renews at the next request" if again else ""
        if "instead" in asked.facts:
            note = f"; COS does not make what was asked for, so {delivery['rendition']} is sent instead"
        return Verdict(
            int(str(status)),
            None,
            f"the client gets the image, {size}, {way}{note}",
            CLOCK if "clock" in asked.facts else "",
        )


def _seen(outcomes: Sequence[CanaryOutcome], now: float) -> Facts:
    """Return what the canary saw last, by front and check. It asks for its own images."""
    facts: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        verdict = {True: "ok", False: "fails", None: "not known"}[outcome.is_up]
        said = f"{verdict}: {outcome.what} ({max(0.0, now - outcome.at):.0f} s ago)"
        facts.setdefault(outcome.via, {})[outcome.check] = said
    return dict(facts)


def _not_found(caller: Caller, reason: str, advice: str) -> Problem:
    error = refusal(caller)
    if isinstance(error, Unauthorized):
        reason = f"{reason}; and the credentials are not valid: {error}"
    return error, reason, advice


def _refused(errors: "_Errors") -> Verdict:
    error, reason, advice = errors[0]
    return Verdict(error.status, error.code, reason, advice)


def _of_old_row(verdict: Verdict, row: Facts) -> Verdict:
    """Return the verdict with the reason why the gateway does not use the row that was read, if it does not."""
    if "in_use" not in row:
        return verdict
    changes = f": changes are {row['changes']}" if "changes" in row else ""
    return replace(verdict, reason=f"{verdict.reason}; but {row['in_use']}{changes}", advice=_OLD_ROW_ADVICE)


_Errors = list[Problem]  # in the order of the request


def _facts_of(record: ImageRecord) -> Facts:
    return {
        "owner": record.owner,
        "visibility": "public" if record.public else "private",
        "bucket": record.bucket,
        "region": record.region,
        "key": record.key,
        "type": record.content_type,
        "links_killed": record.links_killed,
    }
