"""Decide between 200, 206, 304, 412 and 416 before any byte is sent (RFC 9110 sections 13 and 14)."""

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from aiohttp import hdrs
from multidict import MultiMapping

from gateway.errors import PreconditionFailed, RangeNotSatisfiable
from gateway.net.http_fields import is_later, is_same_time, seconds_of
from gateway.origin.origin_response import ObjectMetadata

# COS accepts only one range, and RFC 9110 section 14.2 lets a server ignore unsupported ones. There are no spaces
# within a range (section 14.1.1); names of units are case-insensitive (section 14.1).
_SINGLE_RANGE = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))")
_MOST_LISTED = 8192  # characters of a list of entity tags that are compared: a longer one takes the loop milliseconds
# A member of a list, after any that are empty (RFC 9110 section 5.6.1.2).
_ENTITY_TAG = re.compile(r'[\s,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?=,|$)')


class ByteRange(NamedTuple):
    """The bytes ``first`` to ``last`` of an object, both included.

    ``last`` None: to the end. ``first`` None: the last ``last`` bytes of the object (RFC 9110 section 14.1.2).
    """

    first: int | None
    last: int | None

    @classmethod
    def parse(cls, field: str) -> Self | None:
        """Return the range of a Range header field, or None for a field to ignore (RFC 9110 section 14.2)."""
        found = _SINGLE_RANGE.fullmatch(field)
        if found is None:
            return None
        first, last, suffix = found.groups()
        if suffix is not None:
            return cls(None, int(suffix))
        if last is not None and int(last) < int(first):
            return None  # section 14.1.1: not a valid range
        return cls(int(first), int(last) if last is not None else None)

    def within(self, size: int) -> tuple[int, int]:
        """Return the first and the last byte of an object of ``size`` bytes. Raises ``RangeNotSatisfiable``."""
        if self.first is None:
            if self.last == 0 or size == 0:
                raise RangeNotSatisfiable(size)
            return max(0, size - (self.last or 0)), size - 1
        if self.first >= size:
            raise RangeNotSatisfiable(size)
        return self.first, size - 1 if self.last is None else min(self.last, size - 1)

    def __str__(self) -> str:
        """The value of a Range header field."""
        return f"bytes={'' if self.first is None else self.first}-{'' if self.last is None else self.last}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The part of an image that an answer sends. ``status``: 200, 206 (``first`` to ``last``, inclusive) or 304."""

    status: int
    first: int = 0
    last: int | None = None


WHOLE = Plan(200)
NOT_MODIFIED = Plan(304)


def plan_for(headers: MultiMapping[str], byte_range: ByteRange | None, metadata: ObjectMetadata) -> Plan:
    """Return the plan for a GET or HEAD with these headers. ``byte_range`` None: the request is for the whole image.

    Raises ``PreconditionFailed`` or ``RangeNotSatisfiable``. The order is that of RFC 9110 section 13.2.2: the range
    comes last, and only where If-Range permits it. An unreadable condition is ignored.
    """
    etag, modified = metadata.etag, metadata.last_modified
    if_match, if_none_match = _listed(headers, hdrs.IF_MATCH), _listed(headers, hdrs.IF_NONE_MATCH)
    is_expected = if_match is not None and _matches(if_match, etag, weak=False)
    is_current = if_none_match is not None and _matches(if_none_match, etag, weak=True)
    if if_match is None:  # a date counts only without tags
        is_expected = not is_later(modified, headers.get("If-Unmodified-Since"))
    if if_none_match is None:
        is_current = is_later(modified, headers.get("If-Modified-Since")) is False
    if not is_expected:
        raise PreconditionFailed
    if is_current:
        return NOT_MODIFIED
    if byte_range is None or metadata.size is None:
        return WHOLE
    if_range = headers.get("If-Range")  # a strong tag or the exact date must match (section 13.1.5)
    is_tag = if_range is not None and if_range.startswith('"')
    if if_range is not None and not (if_range == etag if is_tag else is_same_time(if_range, modified)):
        return WHOLE
    return Plan(206, *byte_range.within(metadata.size))


def forwardable_conditions(headers: MultiMapping[str]) -> dict[str, str]:
    """Return the conditions to send to COS, so that it need not send a body that the client has.

    They are If-None-Match if it is one strong entity tag, or If-Modified-Since if the client sent no If-None-Match,
    which takes precedence. Whichever it sends, the gateway evaluates all conditions itself when COS has answered.
    """
    if "If-Match" in headers or "If-Unmodified-Since" in headers:
        return {}  # they come first, and a 304 of COS does not say whether they hold
    if_none_match = _listed(headers, hdrs.IF_NONE_MATCH)
    if if_none_match is not None:
        tag = _ENTITY_TAG.fullmatch(if_none_match)
        return {"If-None-Match": tag[2]} if tag is not None else {}
    modified_since = headers.get("If-Modified-Since")
    if modified_since is not None and seconds_of(modified_since) is not None:
        return {"If-Modified-Since": modified_since}
    return {}


def _listed(headers: MultiMapping[str], name: str) -> str | None:
    """Return all lines of a list field, combined (RFC 9110 section 5.3), or None without the field."""
    lines = headers.getall(name, None)
    return ", ".join(lines) if lines is not None else None


def _matches(field: str, etag: str | None, *, weak: bool) -> bool:
    """Return whether a list of entity tags, or ``*``, contains ``etag``, compared as in RFC 9110 section 8.8.3.2.

    A list of more than 8 KiB contains none.
    """
    if field.strip() == "*":
        return True
    if etag is None or len(field) > _MOST_LISTED or (not weak and etag.startswith("W/")):
        return False
    position = 0
    while (tag := _ENTITY_TAG.match(field, position)) is not None:
        if tag[2] == etag.removeprefix("W/") and (weak or not tag[1]):
            return True
        position = tag.end()
    return False
