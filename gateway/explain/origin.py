"""Explain step: what COS answers about the object, and the error that a client gets of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.checks.cos_advice import ADVICE, CLOCK, NO_ANSWER, advice_for
from gateway.errors import CredentialsExpired, GatewayError, OriginRefused, OriginUnavailable
from gateway.explain.explanation import Facts
from gateway.origin.client import OriginClient
from gateway.origin.errors import PresignedUrlRefused, VersionChanged
from gateway.origin.origin_response import ObjectMetadata
from gateway.origin.outcome import failure_of
from gateway.origin.probe_answer import ProbeAnswer
from gateway.origin.signature_verdicts import is_refusal
from gateway.presign.hosts import Hosts
from gateway.presign.lifetime import Lifetime
from gateway.presign.signed_image import CLOCK_TOLERANCE, SignedImage
from gateway.presign.signer import Signer


@dataclass(frozen=True, slots=True)
class AskedOrigin:
    """``metadata`` is of the object. It is None if COS did not give it: then ``error`` is what a client gets."""

    facts: Facts
    metadata: ObjectMetadata | None = None
    error: GatewayError | None = None
    advice: str = ""


_MOST_RENEWALS: Final = 2  # as for a request: of a cached URL, and by COS's time
# Called with COS's time if it may explain the refusal of a URL, else None; returns whether the clock was changed.
CorrectClock = Callable[[float | None], bool]


class OriginStep:
    """Asks COS for an object as the gateway does: with the cached URL, with a new one if refused, and by HEAD."""

    def __init__(
        self, client: OriginClient, signer: Signer, hosts: Hosts, lifetime: Lifetime, correct_clock: CorrectClock
    ) -> None:
        self._client = client
        self._correct_clock = correct_clock
        self._signer = signer
        self._hosts = hosts
        self._lifetime = lifetime

    async def ask(self, image: SignedImage, *, is_cached: bool, now: float) -> AskedOrigin:
        """Return COS's answers. ``is_cached``: the URL of ``image`` is the cached URL. ``now`` is COS's time."""
        record = image.record
        facts: Facts = {"host": self._hosts.origin_of(record.bucket, record.region).host}
        if self._client.is_paused(record.bucket):
            facts["paused"] = "requests to the bucket are paused: many of its objects failed in a row"
        if not self._lifetime.is_usable(image.presigned, now):
            error = CredentialsExpired("the credentials end too soon for any URL to be usable")
            return AskedOrigin(facts, error=error, advice=ADVICE["ExpiredToken"])
        try:
            answer = await self._client.diagnose(image.presigned.url)
            facts["first_byte"] = {"url": "the cached one" if is_cached else "newly signed", **_facts_of(answer)}
            if abs(ahead := (answer.date or time.time()) - time.time()) >= CLOCK_TOLERANCE:
                facts["clock"] = f"this machine is {abs(ahead):.0f} s {'slow' if ahead > 0 else 'fast'} by COS's clock"
            is_new = not is_cached
            for _ in range(_MOST_RENEWALS):
                is_moved = self._correct_clock(answer.date if is_new and is_refusal(answer.error) else answer.clock)
                if answer.is_success or (is_new and not is_moved):
                    break
                new, is_new = self._signer.sign(record, image.rendition, fresh=True), True
                answer = await self._client.diagnose(new.url)
                facts["first_byte_again"] = {"url": "newly signed", **_facts_of(answer)}
            head = self._signer.sign(record, image.rendition, method="HEAD")
            facts["head"] = _facts_of(await self._client.diagnose(head.url, "HEAD", {}))
        except OriginUnavailable as error:
            return AskedOrigin(facts | {"no_answer": str(error)}, error=error, advice=NO_ANSWER)
        if answer.is_success:
            return AskedOrigin(facts, answer.metadata)
        advice = CLOCK if answer.clock is not None else advice_for(answer.code, record.key)
        return AskedOrigin(facts, error=_error_of(answer), advice=advice)


def _facts_of(answer: ProbeAnswer) -> Facts:
    facts: Facts = {"status": answer.status}
    if answer.code is not None:
        facts["code"] = answer.code
    facts |= {"request_id": answer.request_id, "milliseconds": round(answer.seconds * 1000, 1)}
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


def _error_of(answer: ProbeAnswer) -> GatewayError:
    """Return the error of a client whose request gets this answer of COS, also with a newly signed URL."""
    reason = str(answer.error)
    try:
        return failure_of(answer.error, {}, reason).outcome
    except GatewayError as error:
        return error
    except PresignedUrlRefused:
        return CredentialsExpired(reason) if answer.code == "ExpiredToken" else OriginRefused(reason)
    except VersionChanged:
        return OriginUnavailable(reason)
