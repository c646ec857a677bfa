"""What to answer, decided from what is known of the object before any byte is sent (RFC 9110 sections 13 and 14)."""

import re
from dataclasses import dataclass

from multidict import MultiMapping

from gateway.delivery.preconditions import Validators, Verdict, evaluate, is_conditional, range_applies
from gateway.errors import PreconditionFailed, RangeNotSatisfiable
from gateway.origin.object_metadata import ObjectMetadata

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


@dataclass(frozen=True, slots=True)
class Plan:
    """200, 206 or 304; of a 206 the bytes ``first`` to ``last``, both included."""

    status: int
    first: int = 0
    last: int | None = None


WHOLE = Plan(200)
NOT_MODIFIED = Plan(304)


def plan_for(headers: MultiMapping[str], byte_range: str | None, metadata: ObjectMetadata) -> Plan:
    """The answer to a GET or HEAD with these headers; ``byte_range`` is the one range asked for, if any.

    Raises ``PreconditionFailed`` or ``RangeNotSatisfiable``. The order is that of RFC 9110 section 13.2.2: the range
    comes last, and only where If-Range lets it.
    """
    if byte_range is None and not is_conditional(headers):  # as most requests are
        return WHOLE
    validators = Validators(metadata.etag, metadata.last_modified)
    match evaluate(headers, validators):
        case Verdict.PRECONDITION_FAILED:
            raise PreconditionFailed
        case Verdict.NOT_MODIFIED:
            return NOT_MODIFIED
    if byte_range is None or metadata.size is None or not range_applies(headers.get("If-Range"), validators):
        return WHOLE
    return _within(byte_range, metadata.size)


def _within(byte_range: str, size: int) -> Plan:
    found = _RANGE.fullmatch(byte_range)
    if found is None:
        return WHOLE
    first, last = found.groups()
    if not first:  # the last so many bytes; more than there are means all (RFC 9110 section 14.1.2)
        if int(last) == 0 or size == 0:
            raise RangeNotSatisfiable(size)
        return Plan(206, max(0, size - int(last)), size - 1)
    if int(first) >= size:
        raise RangeNotSatisfiable(size)
    return Plan(206, int(first), min(int(last), size - 1) if last else size - 1)
