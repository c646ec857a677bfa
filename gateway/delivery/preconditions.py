"""Preconditions of requests, evaluated before any byte is sent (RFC 9110 section 13)."""

import enum
import re
from dataclasses import dataclass

from aiohttp import hdrs
from multidict import MultiMapping

from gateway.net.http_date import seconds_of

# A member of a list, after any that are empty (RFC 9110 section 5.6.1.2).
_ENTITY_TAG = re.compile(r'[\s,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?=,|$)')


class Verdict(enum.Enum):
    """The result of the preconditions of a GET or HEAD."""

    SEND = "send"
    NOT_MODIFIED = "not modified"
    PRECONDITION_FAILED = "precondition failed"


@dataclass(frozen=True, slots=True)
class Validators:
    """The entity tag, quotes included, and the Last-Modified date of an object; None where it has none."""

    etag: str | None
    last_modified: str | None


def evaluate(headers: MultiMapping[str], validators: Validators) -> Verdict:
    """Apply the conditions in the order of RFC 9110 section 13.2.2; an unreadable condition is ignored."""
    if (if_match := _listed(headers, hdrs.IF_MATCH)) is not None:
        if not _matches(if_match, validators.etag, weak=False):
            return Verdict.PRECONDITION_FAILED
    elif (unmodified_since := seconds_of(headers.get("If-Unmodified-Since"))) is not None:
        modified = seconds_of(validators.last_modified)
        if modified is not None and modified > unmodified_since:
            return Verdict.PRECONDITION_FAILED
    if (if_none_match := _listed(headers, hdrs.IF_NONE_MATCH)) is not None:
        return Verdict.NOT_MODIFIED if _matches(if_none_match, validators.etag, weak=True) else Verdict.SEND
    if (modified_since := seconds_of(headers.get("If-Modified-Since"))) is not None:
        modified = seconds_of(validators.last_modified)
        if modified is not None and modified <= modified_since:
            return Verdict.NOT_MODIFIED
    return Verdict.SEND


def forwardable_conditions(headers: MultiMapping[str]) -> dict[str, str]:
    """Return the conditions to send to COS, so that it need not send a body that the client has.

    The gateway evaluates COS's answer nevertheless. One strong entity tag, or the date without a tag: If-None-Match
    takes precedence, so the gateway never sends both.
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


def range_applies(if_range: str | None, validators: Validators) -> bool:
    """Return whether a Range applies (RFC 9110 section 13.1.5): a strong tag or the exact date must match."""
    if if_range is None:
        return True
    if if_range.startswith('"'):
        return if_range == validators.etag
    return seconds_of(if_range) is not None and seconds_of(if_range) == seconds_of(validators.last_modified)


def _listed(headers: MultiMapping[str], name: str) -> str | None:
    """Return all lines of a list field, combined (RFC 9110 section 5.3); None without the field."""
    lines = headers.getall(name, None)
    return ", ".join(lines) if lines is not None else None


def _matches(field: str, etag: str | None, *, weak: bool) -> bool:
    """Return whether a list of entity tags, or ``*``, contains ``etag``; ``weak``: RFC 9110 section 8.8.3.2."""
    if field.strip() == "*":
        return True
    if etag is None:
        return False
    if not weak and etag.startswith("W/"):
        return False
    position = 0
    while (tag := _ENTITY_TAG.match(field, position)) is not None:
        if tag[2] == etag.removeprefix("W/") and (weak or not tag[1]):
            return True
        position = tag.end()
    return False
