"""Advice by COS's error code (COS document 7730)."""

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


def advice_for(code: str | None) -> str:
    """Return what to do about COS's error code; None: an answer without a code."""
    return ADVICE.get(code or "", _UNKNOWN_CODE)
