"""The part of ``check`` that tests the target of ``purge``, without a purge."""

import re

from gateway.checks.finding import Finding, warning
from gateway.purge.target import Target, TargetUnavailable

_NAME = "purge"
# Advice by the beginning of Tencent's error code; the first that fits.
_ADVICE = {
    "AuthFailure": "check purge.credentials, or those of cos where it is null, and this machine's clock",
    "InvalidParameter.ZoneNotFound": "check purge.zone_id",
    "ResourceNotFound.CdnUserNotExists": "the account of the credentials does not use Tencent CDN",
}
_MAY_NOT_READ = re.compile(r"UnauthorizedOperation(\.(CamUnauthorized|CdnCamUnauthorized|NoPermission|Unknown))?")
_READS_QUOTA = {"tencent_cdn": "cdn:DescribePurgeQuota", "edgeone": "teo:DescribeContentQuota"}


async def diagnose_purge(target: Target, name: str) -> Finding:
    """Return a finding on the target called ``name``: ask it for its quota, or open a connection to a webhook.

    Credentials that may not read the quota are a warning: they may still be allowed to purge.
    """
    try:
        found = await target.examine()
    except TargetUnavailable as error:
        code = error.code or ""
        if _MAY_NOT_READ.fullmatch(code):
            advice = f"allow {_READS_QUOTA.get(name, 'it')}; whether the credentials may purge is not tried"
            return warning(_NAME, f"{name}: the credentials are known, and may not read the quota", advice)
        advice = next((text for start, text in _ADVICE.items() if code.startswith(start)), "")
        return Finding(_NAME, False, f"{name}: {error}", advice or "purges wait in Redis until the target answers")
    return Finding(_NAME, True, f"{name}: {found}")
