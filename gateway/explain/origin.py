"""Explain step: what COS answers about the object, and the error that a client gets of it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yarl

from gateway.checks.cos import key_problem
from gateway.errors import CredentialsExpired, GatewayError, OriginRefused, OriginUnavailable
from gateway.explain.explanation import Facts
from gateway.findings.catalogue import CATALOGUE, known_remedy
from gateway.objects.renew_on_refusal import Renewal
from gateway.origin.client import OriginClient, ProbeAnswer
from gateway.origin.cos_errors import ObjectReplaced, PresignedUrlRefused, failure_of
from gateway.origin.failures import FailedObjects
from gateway.origin.origin_response import ObjectMetadata
from gateway.presign.signer import SignedImage
from gateway.presign.url_lifetime import CLOCK_TOLERANCE, CosClock
from gateway.urls.resolver import UrlResolver


@dataclass(frozen=True, slots=True)
class AskedOrigin:
    """COS's answers about an object: its ``metadata`` or None, and the client's ``error``, None if COS sent bytes."""

    facts: Facts
    metadata: ObjectMetadata | None = None
    error: GatewayError | None = None
    advice: str = ""


_NO_RANGE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class OriginStep:
    """Asks COS for an explained object, as for requests: by the cached URL, by a new URL if refused, and by HEAD."""

    client: OriginClient
    resolver: UrlResolver
    clock: CosClock
    failures: FailedObjects  # the errors of COS that requests get without asking COS again

    async def ask(self, image: SignedImage, *, is_cached: bool, by_client: bool = False) -> AskedOrigin:
        """Return COS's answers. ``is_cached``: the URL of ``image`` is the cached URL.

        by_client: a redirected client asks COS, which gets the object also while the gateway does not ask for it.
        """
        record = image.record
        facts: Facts = {"host": host_of(image)}
        if self.client.is_paused(record.bucket):
            facts["paused"] = "requests to the bucket are paused: many of its objects failed in a row"
        if not self.resolver.urls.may_be_used(image):
            error = CredentialsExpired("the credentials end too soon for any URL to be usable")
            return AskedOrigin(facts, error=error, advice=known_remedy("cos", str(error)))
        try:
            answer = await self._first_byte(image.presigned.url)
            facts["first_byte"] = {"url": "the cached one" if is_cached else "newly signed", **_facts_of(answer)}
            if abs(ahead := (answer.error.date or time.time()) - time.time()) >= CLOCK_TOLERANCE:
                facts["clock"] = f"this machine is {abs(ahead):.0f} s {'slow' if ahead > 0 else 'fast'} by COS's clock"
            outcome, renewal, presigned = _outcome_of(answer), Renewal(), image.presigned
            while isinstance(outcome, PresignedUrlRefused):
                try:
                    self.clock.refused_at(renewal.refused(outcome, presigned))
                    presigned = self.resolver.urls.sign(record, image.rendition, image.read_at, fresh=True).presigned
                except (CredentialsExpired, OriginRefused) as error:
                    outcome = error
                else:
                    answer = await self._first_byte(presigned.url)
                    facts["first_byte_again"] = {"url": "newly signed", **_facts_of(answer)}
                    outcome = _outcome_of(answer)
            head = self.resolver.urls.sign_for_head(image)
            facts["head"] = _facts_of(await self.client.diagnose(head.url, "HEAD", _NO_RANGE))
        except OriginUnavailable as error:
            advice = known_remedy("cos", str(error), "dependency_down")
            return AskedOrigin(facts | {"no_answer": str(error)}, error=error, advice=advice)
        if not by_client:
            try:
                self.failures.check(image)
            except GatewayError as held:
                outcome = held
        if outcome is None:
            return AskedOrigin(facts, answer.metadata)
        advice = known_remedy("cos", f"{answer.error}{key_problem(answer.error, record.key)}")
        if answer.error.clock is not None:
            advice = CATALOGUE["clock_differs"].remedy
        return AskedOrigin(facts, error=outcome, advice="" if answer.is_success else advice)

    async def _first_byte(self, url: str) -> ProbeAnswer:
        answer = await self.client.diagnose(url)
        # An object without bytes has no first byte.
        return answer if answer.status != 416 else await self.client.diagnose(url, headers=_NO_RANGE)


def host_of(image: SignedImage) -> str | None:
    """Return COS's host in the image's URL, without its port."""
    return yarl.URL(image.presigned.url, encoded=True).raw_host


def _facts_of(answer: ProbeAnswer) -> Facts:
    facts: Facts = {"status": answer.status}
    if answer.error.code is not None:
        facts["code"] = answer.error.code
    facts |= {"request_id": answer.error.request_id, "milliseconds": round(answer.seconds * 1000, 1)}
    if answer.is_success:
        metadata = answer.metadata
        facts |= {
            "type": metadata.content_type,
            "size": metadata.size,
            "etag": metadata.etag,
            "crc64": str(answer.crc64) if answer.crc64 is not None else None,  # more digits than a number of JSON has
            "last_modified": metadata.last_modified,
        }
    return facts


def _outcome_of(answer: ProbeAnswer) -> GatewayError | PresignedUrlRefused | None:
    """Return what a request makes of the answer: None for bytes, else an error, or the reason to renew the URL."""
    if answer.is_success:
        return None
    reason = str(answer.error)
    try:
        return failure_of(answer.error, {}, reason).outcome
    except (GatewayError, PresignedUrlRefused) as error:
        return error
    except ObjectReplaced:
        return OriginUnavailable(reason)
