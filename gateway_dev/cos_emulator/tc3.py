"""API 3.0 of Tencent Cloud: requests signed with TC3-HMAC-SHA256 (document 1312/48206); errors have status 200, too."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from gateway_dev.cos_emulator.access import Credentials

REQUEST_ID = "6f1c3f2a-0d7b-4c1e-9a33-1f1f1f1f1f1f"
_TOLERANCE = 300  # seconds between the clocks of client and service
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/, ]+)/(\d{4}-\d\d-\d\d)/([a-z]+)/tc3_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


def verify(headers: Mapping[str, str], body: bytes, credentials: Credentials, *, service: str, now: float) -> str:
    """Return the SecretId that signed a POST to ``/``. Raises ``ApiRefusal``. ``now``: Unix seconds."""
    fields = {name.lower(): value for name, value in headers.items()}
    found = _AUTHORIZATION.fullmatch(fields.get("authorization", ""))
    if found is None:
        raise ApiRefusal("AuthFailure.SignatureFailure", "The Authorization field is malformed.")
    secret_id, date, signed_service, signed_headers, signature = found.groups()
    timestamp = fields.get("x-tc-timestamp", "")
    if not timestamp.isdecimal() or abs(int(timestamp) - now) > _TOLERANCE:
        raise ApiRefusal("AuthFailure.SignatureExpire", "The signature has expired.")
    is_scope_right = date == datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d")
    if not is_scope_right or signed_service != service:
        raise ApiRefusal("AuthFailure.SignatureFailure", "The scope is not that of the request.")
    credential = credentials.get(secret_id)
    if credential is None:
        raise ApiRefusal("AuthFailure.SecretIdNotFound", f"The SecretId {secret_id} is not found.")
    expected = _sign(fields, body, signed_headers.split(";"), f"{date}/{service}", credential.secret_key)
    if not hmac.compare_digest(expected, signature):
        raise ApiRefusal("AuthFailure.SignatureFailure", "The provided credentials could not be validated.")
    if credential.token is not None:
        if not hmac.compare_digest(fields.get("x-tc-token", "").encode(), credential.token.encode()):
            raise ApiRefusal("AuthFailure.TokenFailure", "The token is wrong.")
        if credential.expires_at is not None and now >= credential.expires_at:
            raise ApiRefusal("AuthFailure.TokenFailure", "The token has expired.")
    return secret_id


def _sign(fields: Mapping[str, str], body: bytes, names: list[str], day: str, secret_key: str) -> str:
    canonical_headers = "".join(f"{name}:{fields.get(name, '').strip().lower()}\n" for name in names)
    payload = hashlib.sha256(body).hexdigest()
    request = f"POST\n/\n\n{canonical_headers}\n{';'.join(names)}\n{payload}"
    date, _, service = day.partition("/")
    to_sign = "\n".join(
        (
            "TC3-HMAC-SHA256",
            fields["x-tc-timestamp"],
            f"{date}/{service}/tc3_request",
            hashlib.sha256(request.encode()).hexdigest(),
        )
    )
    key = _hmac(_hmac(_hmac(f"TC3{secret_key}".encode(), date), service), "tc3_request")
    return _hmac(key, to_sign).hex()


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()


class ApiRefusal(Exception):
    """An error of API 3.0, sent with status 200. ``code`` is from Tencent's documents."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def api_json(answer: object) -> web.Response:
    """Return an answer without a charset, as the services do: Tencent's SDK finds errors only in this content type."""
    return web.Response(body=json.dumps(answer).encode(), content_type="application/json")


def api_error(refusal: ApiRefusal) -> web.Response:
    """Return the refusal of an action."""
    error = {"Code": refusal.code, "Message": refusal.message}
    return api_json({"Response": {"Error": error, "RequestId": REQUEST_ID}})


def parameters_of(body: bytes) -> dict[str, Any]:
    """Return the parameters of an action. Raises ``ApiRefusal``."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ApiRefusal("InvalidParameter", "The body is not JSON.")
    return found
