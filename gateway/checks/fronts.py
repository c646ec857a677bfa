"""Findings on what is in front of the gateway: answers to the canary through it, and the target of purges."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.canary.rules import is_about_a_missing_row
from gateway.findings.finding import Finding, well
from gateway.metrics.canary import CanaryOutcome
from gateway.purge.target import Target, TargetUnavailable
from gateway.settings import PurgeSettings, VariantSettings

_PURGE: Final = "purge"
_MAY_NOT_READ: Final = re.compile(r"UnauthorizedOperation(\.((Cdn)?CamUnauthorized|NoPermission|Unknown))?")


def diagnose_canary(outcomes: Sequence[CanaryOutcome], of_rows: Finding | None = None) -> Iterator[Finding]:
    """Yield a finding for each front and check. A canary that is wrong itself is a warning.

    of_rows: what the check of Postgres says of rows that are hidden or absent. It is then the cause if the canary's
        rows are, and stands for all of these outcomes.
    """
    without_row = [outcome for outcome in outcomes if not outcome.is_up and is_about_a_missing_row(outcome.what)]
    if of_rows is not None and without_row:
        what = f"no row of the canary's images is seen, since {of_rows.what}"
        yield Finding.of("canary_fails", "from outside", what, of_rows.advice)
        outcomes = [outcome for outcome in outcomes if outcome not in without_row]
    for outcome in outcomes:
        name = f"from outside: {outcome.via} {outcome.check}"
        match outcome.is_up:
            case True:
                yield well(name, f"{outcome.what}, in {outcome.seconds or 0:.2f} s")
            case False:
                yield Finding.of("canary_fails", name, outcome.what, via=outcome.via)
            case None:
                yield Finding.of("canary_wrong", name, outcome.what)


def diagnose_negotiation(variants: VariantSettings, purge: PurgeSettings | None) -> Iterator[Finding]:
    """Yield that a CDN may keep the answer to one browser's ``Accept`` for all, if there is a CDN."""
    if variants.negotiate == "accept" and purge is not None and purge.target != "webhook":
        yield Finding.of("front_negotiates", "formats", target=purge.target)


async def diagnose_purge(target: Target, name: str) -> Finding:
    """Return a finding on the target called ``name``: ask it for its quota, or open a connection to a webhook.

    Credentials that may not read the quota are a warning: they may still be allowed to purge.
    """
    try:
        found = await target.examine()
    except TargetUnavailable as error:
        if _MAY_NOT_READ.fullmatch(error.code or ""):
            what = f"{name}: the credentials are known, and may not read the quota"
            return Finding.of("purges_unproven", _PURGE, what)
        return Finding.of("purges_fail", _PURGE, f"{name}: {error}")
    return well(_PURGE, f"{name}: {found}")
