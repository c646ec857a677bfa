"""Tests of http-cache-tests that are run, their expected outcomes with reasons, and the score."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

RUN = ("conditional-lm", "conditional-inm", "headers", "update304", "updateHEAD", "partial", "stale", "other")

_FRESHNESS = (
    "The settings say how long an answer is fresh. The bucket is private, and what its answers say to caches "
    "(Cache-Control, Expires, Pragma, Surrogate-Control) is not read."
)
_NEGOTIATION = "COS does not negotiate, and is sent no field of the client's that it could choose by."
_BUILT_ANEW = (
    "The fields of an answer are built anew: COS's own count for the validators, the encoding, and the type of an "
    "image. The suite looks for others, or that a length is passed on which is not that of the body."
)
# Groups that are not run.
NOT_APPLICABLE = {
    "cc-freshness": _FRESHNESS,
    "cc-parse": _FRESHNESS,
    "age-parse": _FRESHNESS,
    "expires": _FRESHNESS,
    "expires-parse": _FRESHNESS,
    "cc-response": _FRESHNESS,
    "heuristic": _FRESHNESS,
    "pragma": _FRESHNESS,
    "surrogate-control": _FRESHNESS,
    "status": "COS's statuses are translated: whatever is no image is one of the gateway's errors, which nobody keeps.",
    "method": "The address of an image takes GET and HEAD alone.",
    "invalidation": "The address of an image takes GET and HEAD alone; its row in Postgres says when it changes.",
    "vary": _NEGOTIATION,
    "vary-parse": _NEGOTIATION,
    "auth": "Access is checked on each request, before anything from memory is used.",
    "cc-request": "HTTP does not require it, and callers are not let to make the gateway ask COS.",
}
# Tests that are not run, of groups that are run: expressions for their ids.
LEFT_OUT_FOR = {
    r"headers-store-(?!(Connection|Content-Encoding|ETag|Keep-Alive|Proxy-.*|TE|Upgrade)$).*": _BUILT_ANEW,
    r"headers-omit-headers-listed-in-Connection": _BUILT_ANEW,
    r"304-(?!etag-update-response-(Content-Encoding|ETag)$).*": _BUILT_ANEW,
    r"304-etag-update-response-ETag": (
        "A 304 with another ETag confirms nothing, so the gateway asks for the whole object; the suite's origin "
        "refuses a second request."
    ),
    r"head-(200|410)-(retain|update)|partial-use-.*": _BUILT_ANEW,
    r"other-.*-content-disposition-attachment|other-set-cookie": _BUILT_ANEW,
    r"head-200-freshness-update|stale-close-.+": _FRESHNESS,
    r"stale-warning-.*": "RFC 9111 has done away with Warning.",
    r"conditional-etag-vary-.*": _NEGOTIATION,
}
LEFT_OUT = "|".join(LEFT_OUT_FOR)

_NO_TAG = "What is not written as an entity tag matches nothing (RFC 9110 section 8.8.3)."
_NOT_STRONG = "Bytes are kept under a strong ETag, as all of COS's are; others are asked for each time."
_PART = "Parts are not kept: a range of what is not in memory as a whole is asked of COS each time."
# Tests that are run and do not have the outcome that the suite prefers.
ON_PURPOSE = {
    "conditional-lm-fresh-no-lm": "Without a Last-Modified the condition cannot be told, and COS always has one.",
    "conditional-etag-strong-respond-obs-text": "COS's tags are ASCII. Others match nothing: the whole is sent.",
    "conditional-etag-quoted-respond-unquoted": _NO_TAG,
    "conditional-etag-unquoted-respond-unquoted": _NO_TAG,
    "conditional-etag-unquoted-respond-quoted": _NO_TAG,
    "conditional-etag-weak-respond-lowercase": _NO_TAG,
    "conditional-etag-weak-respond-backslash": _NO_TAG,
    "conditional-etag-weak-respond-omit-slash": _NO_TAG,
    "conditional-etag-forward-unquoted": _NO_TAG,
    "conditional-etag-strong-generate-unquoted": _NOT_STRONG,
    "conditional-etag-weak-generate-weak": _NOT_STRONG,
    "head-writethrough": "A HEAD for bytes in memory that are stale is answered after a conditional GET.",
    "partial-store-partial-reuse-partial": _PART,
    "partial-store-partial-reuse-partial-byterange": _PART,
    "partial-store-partial-reuse-partial-absent": _PART,
    "partial-store-partial-reuse-partial-suffix": _PART,
    "partial-store-partial-complete": "It sends another part than was asked for. The whole is asked for instead.",
    "other-age-update-expires": "Age is counted from COS's answer. COS is the origin, and has none of its own.",
    "other-age-update-max-age": "Age is counted from COS's answer. COS is the origin, and has none of its own.",
    "other-date-update": "The gateway is the origin of what it sends, and dates it.",
    "query-args-different": "An image has one address: what the gateway does not know in a query changes nothing.",
}
_DONE = {"pass", "yes"}
_KINDS = {"required": "required", "optimal": "optional", "check": "observed"}
_PAGE = Path(__file__).parents[3] / "docs" / "delivery.md"


class Outcome(NamedTuple):
    """Outcome of a test; ``result`` is None if it was not run."""

    group: str
    id: str
    kind: str
    result: str | None
    detail: str


def score(outcomes: Iterable[Outcome]) -> str:
    """Return the score in the form of docs/delivery.md."""
    ran = [outcome for outcome in outcomes if outcome.result is not None]
    of_kinds = []
    for kind, meaning in _KINDS.items():
        results = [outcome.result for outcome in ran if outcome.kind == kind]
        of_kinds.append(f"{sum(result in _DONE for result in results)} of {len(results)} {meaning}")
    return ", ".join(of_kinds)


def report(outcomes: list[Outcome]) -> int:
    """Print the score and every unexpected outcome; return 1 if there is one or docs/delivery.md has another score."""
    applicable = sum(outcome.result is not None for outcome in outcomes)
    print(f"\n{len(outcomes)} tests, {applicable} apply: {score(outcomes)}")
    print("\nOn purpose:\n")
    for reason in dict.fromkeys(ON_PURPOSE.values()):
        _explain(reason, [name for name, why in ON_PURPOSE.items() if why == reason])
    print("Not applicable:\n")
    why_not = {outcome.id: _why_not(outcome) for outcome in outcomes if outcome.result is None}
    for reason in dict.fromkeys(why_not.values()):
        names = [f"{group} ({count})" for group, count in _counts(outcomes, why_not, reason)]
        _explain(reason, names)
    surprises = list(_surprises(outcomes))
    if score(outcomes) not in _PAGE.read_text(encoding="utf-8"):
        surprises.append("docs/delivery.md has another score.")
    for surprise in surprises:
        print(surprise)
    return 1 if surprises else 0


def _why_not(outcome: Outcome) -> str:
    found = [why for expression, why in LEFT_OUT_FOR.items() if re.fullmatch(expression, outcome.id)]
    return NOT_APPLICABLE.get(outcome.group) or next(iter(found), "for no reason")


def _counts(outcomes: Iterable[Outcome], why_not: dict[str, str], reason: str) -> Iterator[tuple[str, int]]:
    groups = [outcome.group for outcome in outcomes if why_not.get(outcome.id) == reason]
    yield from ((group, groups.count(group)) for group in dict.fromkeys(groups))


def _surprises(outcomes: Iterable[Outcome]) -> Iterator[str]:
    seen = set()
    for outcome in outcomes:
        if outcome.result is None or outcome.result in _DONE:
            continue
        seen.add(outcome.id)
        if outcome.id not in ON_PURPOSE or outcome.result == "harness failed":
            yield f"UNEXPECTED: {outcome.id}: {outcome.result}: {outcome.detail}"
    yield from (f"NO LONGER SO: {name}" for name in ON_PURPOSE.keys() - seen)


def _explain(reason: str, names: Iterable[str]) -> None:
    print(textwrap.fill(reason, 110))
    print(textwrap.fill(", ".join(names), 110, initial_indent="    ", subsequent_indent="    "), end="\n\n")
