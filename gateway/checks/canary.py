"""Findings on what the canary sees through the fronts."""

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.checks.finding import Finding, warning
from gateway.metrics.canary import CanaryOutcome

_ADVICE: Final = "look at the error log of {via}, at its certificate, and whether it leads to this gateway"
_WRONG_ADVICE: Final = "name an active public image as canary.public, and an active private one as canary.private"


def diagnose_canary(outcomes: Sequence[CanaryOutcome]) -> Iterator[Finding]:
    """Yield a finding for each front and check. A canary that is wrong itself is a warning."""
    for outcome in outcomes:
        name = f"from outside: {outcome.via} {outcome.check}"
        match outcome.is_up:
            case True:
                yield Finding(name, True, f"{outcome.what}, in {outcome.seconds or 0:.2f} s")
            case False:
                yield Finding(name, False, outcome.what, _ADVICE.format(via=outcome.via))
            case None:
                yield warning(name, outcome.what, _WRONG_ADVICE)
