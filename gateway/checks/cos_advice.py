"""Advice by COS's answer (COS document 7730) or by why there is none, and mistakes in keys that explain a 404."""

import re
import ssl
from collections.abc import Mapping
from typing import Final

from gateway.origin.cos_errors import THROTTLED_STATUSES, CosError

_SLOW_DOWN: Final = "COS asks for fewer requests: wait, and ask Tencent for a higher limit of the bucket if it lasts"
_FAILS: Final = "COS fails: try again, and report the request id to Tencent if it lasts"
_SUSPENDED: Final = "the account is suspended, for instance in arrears: look at Tencent Cloud's console"
_BLOCKED: Final = "COS blocks the object: look at the content audit of the bucket"
_UNPROCESSABLE: Final = "COS cannot process the object: only pictures within its limits can be resized"
ADVICE: Final[Mapping[str, str]] = {
    "SignatureDoesNotMatch": "cos.secret_key does not belong to cos.secret_id",
    "InvalidAccessKeyId": "COS does not know cos.secret_id, or the temporary credentials have expired",
    "ExpiredToken": "the temporary credentials have expired: renew cos.token, or see the source in cos.credentials",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: synchronize it (NTP)",
    "NoSuchBucket": "the bucket does not exist in that region: check cos.bucket and cos.region",
    "NoSuchKey": "the table's row names an object that is not in the bucket: check postgres.columns.key",
    "AccessDenied": "the credentials are valid but may not read: allow them GetObject on the bucket",
    "InvalidObjectState": "the object is archived; images need a storage class that can be read at once",
    "SlowDown": _SLOW_DOWN,
    **dict.fromkeys(("InternalError", "ServiceUnavailable"), _FAILS),
    "PaymentRequired": _SUSPENDED,
    **dict.fromkeys(("UnavailableForLegalReasons", "DomainAuditFailed"), _BLOCKED),
    **dict.fromkeys(("InvalidImageFormat", "ImageTooLarge", "ImageResolutionExceed"), _UNPROCESSABLE),
    "UserCnameInvalid": "the domain is not bound to this bucket: check cos.domain and Tencent Cloud's console",
    "BucketAccelerateNotEnabled": "turn on global acceleration of the bucket, or use another cos.domain",
}
_BY_STATUS: Final[Mapping[int, str]] = {402: _SUSPENDED, 451: _BLOCKED, **dict.fromkeys(THROTTLED_STATUSES, _SLOW_DOWN)}
_UNKNOWN_CODE = "find this answer in COS document 7730"
NO_ANSWER = "check cos.region, cos.bucket, cos.domain and cos.scheme, and the network from here to COS"
# By the codes of OpenSSL's verification (X509_V_ERR_…).
_CERTIFICATE: Final[Mapping[int, str]] = {
    9: "its certificate is not valid yet: check the clock of this machine",
    10: "its certificate has expired: renew it where cos.domain ends (Tencent Cloud's console for a custom domain)",
    62: "its certificate is of another host: check cos.domain, and the certificate of the custom domain",
}
_OTHER_CERTIFICATE: Final = (
    "its certificate is not trusted here: install ca-certificates, or find the proxy that intercepts TLS"
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_KEY_ADVICE = "postgres.columns.key must name a column with the key alone, as COS has it: no host, no space around it"


def advice_for(error: CosError, key: str | None = None) -> str:
    """Return what to do about COS's answer to a request for ``key``. The code says more than the status."""
    code = error.code or ""
    if code in ("NoSuchKey", "AccessDenied") and key is not None and (problem := key_problem(key)) is not None:
        return f"the key {problem}: {_KEY_ADVICE}"
    if (advice := ADVICE.get(code) or _BY_STATUS.get(error.status)) is not None:
        return advice
    return _FAILS if error.status >= 500 else _UNKNOWN_CODE


def advice_on_head(error: CosError) -> str:
    """Return what to do if COS answers a GET and refuses a HEAD, whose answer has no code."""
    return "allow the credentials HeadObject on the bucket" if error.status == 403 else advice_for(error)


def advice_without_answer(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_code"):
            return _CERTIFICATE.get(cause.verify_code, _OTHER_CERTIFICATE)
        cause = cause.__cause__
    return NO_ANSWER


def key_problem(key: str) -> str | None:
    """Return the mistake in a key of which COS has no object, or None without one. COS allows such a key."""
    if _URL.match(key.strip()):
        return "is a whole URL"
    if key != key.lstrip():
        return "begins with a space"
    return "ends with a space" if key != key.rstrip() else None
