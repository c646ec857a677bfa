"""Signature of requests to Tencent Cloud's API 3.0: TC3-HMAC-SHA256 (document 1312/48206)."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final, NamedTuple

CONTENT_TYPE: Final = "application/json"
_ALGORITHM: Final = "TC3-HMAC-SHA256"
_SIGNED_HEADERS: Final = "content-type;host"


class ApiKey(NamedTuple):
    """A key that signs requests. ``token``: the token of temporary credentials, None for permanent credentials."""

    secret_id: str
    secret_key: str
    token: str | None = None


def authorization(key: ApiKey, *, service: str, host: str, body: bytes, timestamp: int) -> str:
    """Return the Authorization field of a POST of ``body`` (JSON) to ``/`` at ``host``.

    host: the Host field as it is sent, with its port.
    timestamp: Unix seconds.
    """
    date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    scope = f"{date}/{service}/tc3_request"
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\n"
    canonical = f"POST\n/\n\n{headers}\n{_SIGNED_HEADERS}\n{hashlib.sha256(body).hexdigest()}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signing_key = f"TC3{key.secret_key}".encode()
    for part in (date, service, "tc3_request"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, f"{_ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    return f"{_ALGORITHM} Credential={key.secret_id}/{scope}, SignedHeaders={_SIGNED_HEADERS}, Signature={signature}"
