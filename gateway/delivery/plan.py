"""Decide between 200, 206, 304, 412 and 416 before any byte is sent (RFC 9110 sections 13 and 14)."""

from dataclasses import dataclass

from multidict import MultiMapping

from gateway.delivery.byte_range import ByteRange
from gateway.delivery.preconditions import Validators, Verdict, evaluate, range_applies
from gateway.errors import PreconditionFailed
from gateway.origin.origin_response import ObjectMetadata


@dataclass(frozen=True, slots=True)
class Plan:
    """Status 200, 206 or 304; of a 206 the bytes ``first`` to ``last``, both included."""

    status: int
    first: int = 0
    last: int | None = None


WHOLE = Plan(200)
NOT_MODIFIED = Plan(304)


def plan_for(headers: MultiMapping[str], byte_range: ByteRange | None, metadata: ObjectMetadata) -> Plan:
    """Return the plan for a GET or HEAD with these headers; ``byte_range`` None: the request is for the whole image.

    Raises ``PreconditionFailed`` or ``RangeNotSatisfiable``. The order is that of RFC 9110 section 13.2.2: the range
    comes last, and only where If-Range permits it.
    """
    validators = Validators(metadata.etag, metadata.last_modified)
    match evaluate(headers, validators):
        case Verdict.PRECONDITION_FAILED:
            raise PreconditionFailed
        case Verdict.NOT_MODIFIED:
            return NOT_MODIFIED
    if byte_range is None or metadata.size is None or not range_applies(headers.get("If-Range"), validators):
        return WHOLE
    return Plan(206, *byte_range.within(metadata.size))
