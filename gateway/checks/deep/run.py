"""Runs every probe in order. A probe without an answer is a result, too."""

from collections.abc import AsyncIterator, Collection
from typing import Final

from gateway.checks.deep import connections, objects, signatures, styles
from gateway.checks.deep.probe import Probe, Result, Subject, Verdict
from gateway.errors import OriginUnavailable

PROBES: Final[dict[int, Probe]] = {
    1: signatures.reachability,
    2: signatures.missing_object,
    3: signatures.methods,
    4: signatures.times,
    5: signatures.unsigned_headers,
    6: objects.ranges,
    7: objects.conditional_ranges,
    8: objects.whole_object,
    9: styles.processed,
    10: styles.processed_conditions,
    11: styles.unprocessable,
    12: signatures.tokens,
    13: connections.hosts,
    14: connections.slow_read,
    15: connections.idle_connections,
    16: connections.overrides,
    17: connections.awkward_keys,
    18: connections.long_urls,
    19: connections.unsigned_parameters,
}


async def run_probes(subject: Subject, numbers: Collection[int] = ()) -> AsyncIterator[Result]:
    """Yield the results of the 19 probes, or of the probes with ``numbers``."""
    for number, probe in PROBES.items():
        if numbers and number not in numbers:
            continue
        try:
            async for result in probe(subject):
                yield result
        except OriginUnavailable as error:
            yield Result(number, "request", "an answer", f"none: {error}", Verdict.FAIL)


def as_line(result: Result) -> str:
    """Return a result as a line of the report."""
    start = f"{result.verdict.value:5} {result.number:2} {result.title}: "
    if result.verdict is Verdict.SKIPPED:
        return start + result.got
    request = f" (request {result.request_id})" if result.request_id is not None else ""
    return f"{start}expected {result.expected}; got {result.got}{request}"
