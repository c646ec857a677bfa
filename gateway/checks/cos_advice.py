"""Advice by COS's error code (COS document 7730), and mistakes in keys that explain why COS has no such object."""

import re
from typing import Final

ADVICE = {
    "SignatureDoesNotMatch": "cos.secret_key does not belong to cos.secret_id",
    "InvalidAccessKeyId": "COS does not know cos.secret_id, or the temporary credentials have expired",
    "ExpiredToken": "the temporary credentials have expired: renew cos.token with its secret_id and secret_key",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: synchronize it (NTP)",
    "NoSuchBucket": "the bucket does not exist in that region: check cos.bucket and cos.region",
    "NoSuchKey": "the table's row names an object that is not in the bucket: check postgres.columns.key",
    "AccessDenied": "the credentials are valid but may not read: allow them GetObject on the bucket",
    "InvalidObjectState": "the object is archived; images need a storage class that can be read at once",
}
_UNKNOWN_CODE = "find this answer in COS document 7730"
CLOCK = "synchronize it (NTP)"
NO_ANSWER = "check cos.region, cos.bucket, cos.domain and cos.scheme, and the network from here to COS"
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_KEY_ADVICE = "postgres.columns.key must name a column with the key alone, as COS has it: no host, no space around it"


def advice_for(code: str | None, key: str | None = None) -> str:
    """Return what to do about COS's error code (None: an answer without a code) to a request for ``key``."""
    if code in ("NoSuchKey", "AccessDenied") and key is not None and (problem := key_problem(key)) is not None:
        return f"the key {problem}: {_KEY_ADVICE}"
    return ADVICE.get(code or "", _UNKNOWN_CODE)


def key_problem(key: str) -> str | None:
    """Return the mistake in a key of which COS has no object, or None without one. COS allows such a key."""
    if _URL.match(key.strip()):
        return "is a whole URL"
    if key != key.lstrip():
        return "begins with a space"
    return "ends with a space" if key != key.rstrip() else None
