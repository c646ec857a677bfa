"""The part of ``check`` about credentials: their source, their life, and an attempt to refresh them."""

from collections.abc import Sequence

from gateway.checks.finding import Finding, warning
from gateway.presign.credentials.rotation import RotatingCredentials

_NAME = "credentials"
# Advice by the source that gives no credentials.
_ADVICE = {
    "static": "renew cos.token with its secret_id, secret_key and token_expires_at",
    "environment": "renew TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY and TENCENTCLOUD_TOKEN",
    "file": "check the path in cos.credentials, and the program that writes that file",
    "cvm_role": "bind a role to the instance, and check cos.credentials: its role and its metadata_url",
    "tke_oidc": "check the pod's service account, and that the role trusts the cluster's identity provider",
    "assume_role": "the role must trust the base credentials, and these must be allowed sts:AssumeRole",
}


async def diagnose_credentials(credentials: RotatingCredentials, buckets: Sequence[str] = ()) -> Finding:
    """Return a finding on the source and on the life of its credentials, after an attempt to refresh them.

    The finding names ``buckets``, the buckets that the credentials are for, if there are several sources.
    """
    is_refreshed = await credentials.refresh()
    left = credentials.seconds_left
    name = " ".join([_NAME, *buckets])
    what = f"source {credentials.name}: " + ("they never end" if left is None else f"{left:.0f} s are left")
    if not is_refreshed:
        what, advice = f"{what}; refresh failed: {credentials.reason}", _ADVICE[credentials.name]
        return warning(name, what, advice) if left else Finding(name, False, what, advice, stops_start=True)
    if credentials.is_near_end:
        return warning(name, what, "the source gives credentials that end soon: look at what renews them")
    return Finding(name, True, what)
